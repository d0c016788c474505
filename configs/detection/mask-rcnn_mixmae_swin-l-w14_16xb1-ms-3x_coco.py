"""Mask R-CNN with MixMAE Swin-L/W14 on COCO, 3x schedule, multi-scale; not published.

Chosen: HiViT's Mask R-CNN (zhangxiaosong18/hivit at 2718339), as for Swin-B, with a drop path of 0.3.
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
        arch="large",
        img_size=224,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
train_dataloader = dict(batch_size=1)
