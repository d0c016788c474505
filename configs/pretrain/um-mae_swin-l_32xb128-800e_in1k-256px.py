"""UM-MAE pretraining of its Swin-L on ImageNet-1K, 800 epochs.

Recipe: the official repository (implus/UM-MAE at cb7776b). Published: 85.2 % top-1 after fine-tuning at 256
px (the repository's README; 85.3 % in an earlier version of it). Windows of 8 on packed maps, as there.
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/um-mae_pretrain_800e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.UMMAE",
    backbone=dict(type="mixmae_bench.UMSwin", arch="large", window_size=8),
    decoder=dict(dim=512, depth=8, num_heads=16),
    secondary_ratio=0.25,
    norm_pix=True,
)
train_dataloader = dict(batch_size=128)
