"""Cascade Mask R-CNN with SimMIM Swin-B on COCO, 3x schedule, multi-scale; not published.

Chosen here: mmdet's own cascade, trained like HiViT's Mask R-CNN (zhangxiaosong18/hivit at 2718339).
"""

_base_ = [
    "../_base_/models/cascade-mask-rcnn.py",
    "../_base_/backbones/simmim_swin-b-w7.py",
    "../_base_/datasets/coco_ms-480-800.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.2),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9, no_decay=["relative_position_bias_table"]))
