"""Mask R-CNN with MixMAE Swin-B/W14 on COCO, 3x schedule, multi-scale; not published.

Chosen: HiViT's Mask R-CNN (zhangxiaosong18/hivit at 2718339: 480 to 800 px, 4 convolutions and GIoU in the
box head, layer decay 0.9, drop path 0.2).
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
        type="mixmae_bench.MixMAESwin",
        arch="base",
        img_size=224,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
train_dataloader = dict(batch_size=2)
