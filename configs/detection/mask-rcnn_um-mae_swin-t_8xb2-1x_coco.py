"""Mask R-CNN with UM-MAE Swin-T on COCO, 1x schedule; not published.

Chosen: no layer decay and a drop path of 0.1, as in UM-MAE's own detection; the rest as for Swin in mmdet.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/coco_1x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.UMSwin",
        arch="tiny",
        window_size=16,
        drop_path_rate=0.1,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
train_dataloader = dict(batch_size=2)
