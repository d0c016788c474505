"""Mask R-CNN with UM-MAE Swin-T on COCO, 3x schedule, multi-scale; not published.

Chosen: no layer decay and a drop path of 0.1, as in UM-MAE's own detection; the rest is HiViT's Mask R-CNN
(zhangxiaosong18/hivit at 2718339).
"""

_base_ = [
    "../_base_/models/mask-rcnn_giou.py",
    "../_base_/datasets/coco_ms-480-800.py",
    "../_base_/schedules/coco_3x_adamw.py",
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
