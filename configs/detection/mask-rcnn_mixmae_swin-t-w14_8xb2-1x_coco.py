"""Mask R-CNN with MixMAE's Swin-T/W14 on COCO, 1x schedule; not published: a row of `controlled`.

The recipe is that of the Swin-B with less drop path.
"""

_base_ = "./mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco.py"

model = dict(
    backbone=dict(arch="tiny", drop_path_rate=0.1),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
