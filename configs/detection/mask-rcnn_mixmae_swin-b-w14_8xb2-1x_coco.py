"""Mask R-CNN with MixMAE Swin-B/W14 on COCO, 1x schedule; not published.

Chosen: layer decay (0.9) and drop path (0.2) of HiViT's Mask R-CNN (zhangxiaosong18/hivit at 2718339); the
rest as for Swin in mmdet.
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
