"""Mask R-CNN with MixMAE Swin-B/W14 on COCO, 36 epochs, large-scale jittering and copy-paste; not published.

Chosen: the recipe published for SimMIM's Swin-B (ggjy/FastMIM.pytorch at 03a70ff), to compare with it.
"""

_base_ = [
    "../_base_/models/mask-rcnn_sync-bn.py",
    "../_base_/datasets/coco_lsj-1024_copy-paste.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.MixMAESwin",
        arch="base",
        img_size=224,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=6e-5))
train_dataloader = dict(batch_size=2)
