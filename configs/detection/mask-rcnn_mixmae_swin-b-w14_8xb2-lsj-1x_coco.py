"""Mask R-CNN with MixMAE Swin-B/W14 on COCO, 12 epochs, large-scale jittering; not published.

Chosen here: the 1x config on jittered images of 1024 px, to see in a short run what jittering changes.
"""

_base_ = [
    "../_base_/models/mask-rcnn_sync-bn.py",
    "../_base_/backbones/mixmae_swin-b-w14.py",
    "../_base_/datasets/coco_lsj-1024.py",
    "../_base_/schedules/coco_1x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.2),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
