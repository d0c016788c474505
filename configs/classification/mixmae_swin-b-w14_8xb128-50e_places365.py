"""MixMAE Swin-B/W14 fine-tuned on Places365 at 224 px; not published.

Chosen here: MAE's fine-tuning on ImageNet, with half the epochs and the method's own layer decay (0.7).
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b-w14.py",
    "../_base_/datasets/places365_224.py",
    "../_base_/schedules/finetune_50e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(head=dict(num_classes=365))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
