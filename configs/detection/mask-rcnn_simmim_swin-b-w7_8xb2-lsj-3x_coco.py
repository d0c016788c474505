"""Mask R-CNN with SimMIM Swin-B on COCO, 36 epochs, large-scale jittering and copy-paste.

Recipe: ggjy/FastMIM.pytorch at 03a70ff, from the checkpoint fine-tuned on ImageNet (800 epochs of
pretraining), without layer decay. Published there: 52.3 box AP, 46.4 mask AP. The batch size was not found;
16 is mmdet's default.
"""

_base_ = [
    "../_base_/models/mask-rcnn_sync-bn.py",
    "../_base_/backbones/simmim_swin-b-w7.py",
    "../_base_/datasets/coco_lsj-1024_copy-paste.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.2),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=6e-5), paramwise_cfg=dict(no_decay=["relative_position_bias_table"]))
