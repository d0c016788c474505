"""Mask R-CNN with MixMAE Swin-B/W14 on COCO, 36 epochs, large-scale jittering and copy-paste; not published.

Chosen here: the recipe published for SimMIM's Swin-B (ggjy/FastMIM.pytorch at 03a70ff), to compare the two.
"""

_base_ = [
    "../_base_/models/mask-rcnn_sync-bn.py",
    "../_base_/backbones/mixmae_swin-b-w14.py",
    "../_base_/datasets/coco_lsj-1024_copy-paste.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.2),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=6e-5))
