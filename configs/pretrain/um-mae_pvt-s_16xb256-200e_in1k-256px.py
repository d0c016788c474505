"""UM-MAE pretraining of PVT-S on ImageNet-1K, 200 epochs.

Recipe: the official repository (implus/UM-MAE at cb7776b). Published: 79.31 % top-1 after fine-tuning at 256
px (the repository's README).
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/um-mae_pretrain_200e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.UMMAE",
    backbone=dict(type="mixmae_bench.UMPVT", arch="small"),
    decoder=dict(dim=512, depth=2, num_heads=16),
    secondary_ratio=0.25,
    norm_pix=True,
)
train_dataloader = dict(batch_size=256)
