"""MixMAE Swin-B/W14 fine-tuned on ImageNet-1K at 224 px.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9). Published: 85.1 % top-1 after 600 epochs of
pretraining (its README), 84.63 % after 300 (mmpretrain's re-run).
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b-w14.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
