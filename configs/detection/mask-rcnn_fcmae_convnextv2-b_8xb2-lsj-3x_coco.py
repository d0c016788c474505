"""Mask R-CNN with ConvNeXt V2-B, pretrained by FCMAE (arXiv 2301.00808), on COCO, 36 epochs, LSJ at 1024 px.

Recipe: that of any timm model here, not the published one.
"""

_base_ = "./mask-rcnn_timm_8xb2-lsj-3x_coco.py"

model = dict(backbone=dict(model="convnextv2_base.fcmae"))
