"""Mask R-CNN with SimMIM Swin-B on COCO, 1x schedule; not published.

Chosen here: layer decay (0.9) and drop path (0.2) of HiViT's Mask R-CNN (zhangxiaosong18/hivit at 2718339);
the rest as for Swin in mmdet.
"""

_base_ = [
    "../_base_/models/mask-rcnn.py",
    "../_base_/backbones/simmim_swin-b-w7.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/coco_1x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.2),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9, no_decay=["relative_position_bias_table"]))
