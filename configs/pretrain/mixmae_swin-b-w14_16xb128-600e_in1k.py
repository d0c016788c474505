"""MixMAE pretraining of Swin-B/W14 on ImageNet-1K, 600 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9). Published: 85.1 % top-1 after fine-tuning at 224
px, 86.3 % at 384 px (the repository's README; arXiv 2205.13137).
"""

_base_ = [
    "../_base_/models/mixmae_swin-b-w14.py",
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/mixmae_pretrain_600e.py",
    "../_base_/mmpretrain_runtime.py",
]
