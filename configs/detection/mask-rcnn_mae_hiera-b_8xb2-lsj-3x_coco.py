"""Mask R-CNN with Hiera-B, pretrained by MAE (arXiv 2306.00989), on COCO, 36 epochs, LSJ at 1024 px.

Recipe: that of any timm model here, not the published one.
"""

_base_ = "./mask-rcnn_timm_8xb2-lsj-3x_coco.py"

model = dict(backbone=dict(model="hiera_base_224.mae"))
