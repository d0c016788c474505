"""Mask R-CNN with MixMAE Swin-L/W14 on COCO, 3x schedule, multi-scale; not published.

Chosen here: the recipe of HiViT's Mask R-CNN (zhangxiaosong18/hivit at 2718339), as for Swin-B, with a drop
path of 0.3.
"""

_base_ = "./mask-rcnn_mixmae_swin-b-w14_8xb2-ms-3x_coco.py"

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.3),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
train_dataloader = dict(batch_size=1)
