"""MixMAE pretraining of Swin-B/W14 on ImageNet-1K, 300 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9), with the schedule shortened as in mmpretrain's
configs/mixmim. Published: 84.63 % top-1 after fine-tuning at 224 px (mmpretrain's metafile).
"""

_base_ = [
    "../_base_/models/mixmae_swin-b-w14.py",
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/mixmae_pretrain_300e.py",
    "../_base_/mmpretrain_runtime.py",
]
