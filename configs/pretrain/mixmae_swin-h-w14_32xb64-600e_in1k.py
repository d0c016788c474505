"""MixMAE pretraining of Swin-H/W14 on ImageNet-1K, 600 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9), whose code has this model; no result published.
The batch of 2048 is spread over 32 GPUs, as 600 M parameters with 128 images are a tight fit for one.
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/mixmae_pretrain_600e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.MixMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="huge", with_cp=True),
    decoder=dict(dim=512, depth=8, num_heads=16),
    mask_ratio=0.5,
    norm_pix=True,
)
train_dataloader = dict(batch_size=64)
