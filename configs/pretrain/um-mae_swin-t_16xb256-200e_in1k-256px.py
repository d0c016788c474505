"""UM-MAE pretraining of its Swin-T on ImageNet-1K, 200 epochs.

Recipe: the official repository (implus/UM-MAE at cb7776b). Published: 82.04 % top-1 after fine-tuning at 256
px (the repository's README). Windows of 8 on packed maps, as there.
"""

_base_ = [
    "../_base_/models/um-mae_swin-t-w8.py",
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/um-mae_pretrain_200e.py",
    "../_base_/mmpretrain_runtime.py",
]
