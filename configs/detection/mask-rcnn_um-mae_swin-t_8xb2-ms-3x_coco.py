"""Mask R-CNN with UM-MAE Swin-T on COCO, 3x schedule, multi-scale; not published.

Chosen here: no layer decay and a drop path of 0.1, as in UM-MAE's own detection; the rest as for HiViT's
Mask R-CNN (zhangxiaosong18/hivit at 2718339).
"""

_base_ = [
    "../_base_/models/mask-rcnn_giou.py",
    "../_base_/backbones/um-mae_swin-t-w16.py",
    "../_base_/datasets/coco_ms-480-800.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.1),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
