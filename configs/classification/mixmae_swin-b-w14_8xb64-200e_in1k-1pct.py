"""MixMAE Swin-B/W14 fine-tuned on 1 % of ImageNet-1K's labels (SimCLR's list); not published.

Chosen here: MAE's fine-tuning on all of ImageNet, with half the batch, twice the epochs and the method's own
layer decay (0.7).
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b-w14.py",
    "../_base_/datasets/imagenet_finetune_224_1pct.py",
    "../_base_/schedules/finetune_200e_bs512.py",
    "../_base_/mmpretrain_runtime.py",
]

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
