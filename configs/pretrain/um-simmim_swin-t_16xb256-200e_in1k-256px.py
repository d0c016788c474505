"""The SimMIM that UM-MAE's repository compares with, on its Swin-T: 200 epochs on ImageNet-1K.

Recipe: the official repository (implus/UM-MAE at cb7776b, models_simmim_swin.py), with the schedule of its
UM-MAE. Its result is not published there. It sees whole images in windows of 16, with three quarters of the
16-px mask patches masked. This config serves to compare speed and memory.
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/um-mae_pretrain_200e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.UMSimMIM",
    backbone=dict(type="mixmae_bench.UMSwin", arch="tiny", window_size=16),
    mask_ratio=0.75,
)
