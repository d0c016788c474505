"""MixMAE pretraining of Swin-L/W14 on ImageNet-1K, 600 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9). Published: 85.9 % top-1 after fine-tuning at 224
px, 86.9 % at 384 px (the repository's README).
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/mixmae_pretrain_600e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.MixMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="large"),
    decoder=dict(dim=512, depth=8, num_heads=16),
    mask_ratio=0.5,
    norm_pix=True,
)
train_dataloader = dict(batch_size=128)
