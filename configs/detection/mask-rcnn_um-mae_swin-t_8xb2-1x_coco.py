"""Mask R-CNN with UM-MAE Swin-T on COCO, 1x schedule; not published.

Chosen here: no layer decay and a drop path of 0.1, as in UM-MAE's own detection; the rest as for Swin in
mmdet.
"""

_base_ = [
    "../_base_/models/mask-rcnn.py",
    "../_base_/backbones/um-mae_swin-t-w16.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/coco_1x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.1),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
