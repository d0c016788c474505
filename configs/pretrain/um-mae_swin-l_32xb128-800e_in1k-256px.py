"""UM-MAE pretraining of its Swin-L on ImageNet-1K, 800 epochs.

Recipe: the official repository (implus/UM-MAE at cb7776b). Published: 85.2 % top-1 after fine-tuning at 256
px (the repository's README; 85.3 % in an earlier version of it). Windows of 8 on packed maps, as there.
"""

_base_ = [
    "../_base_/models/um-mae_swin-t-w8.py",
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/um-mae_pretrain_800e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(arch="large"), decoder=dict(depth=8))
train_dataloader = dict(batch_size=128)
