"""MixMAE pretraining of Swin-L/W14 on ImageNet-1K, 600 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9). Published: 85.9 % top-1 after fine-tuning at 224
px, 86.9 % at 384 px (the repository's README).
"""

_base_ = "./mixmae_swin-b-w14_16xb128-600e_in1k.py"

model = dict(backbone=dict(arch="large"))
