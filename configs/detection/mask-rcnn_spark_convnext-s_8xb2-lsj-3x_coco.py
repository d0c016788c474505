"""Mask R-CNN with SparK's ConvNeXt-S on COCO, 36 epochs, large-scale jittering at 1024 px; not published.

Recipe: that of any timm model here.
"""

_base_ = "./mask-rcnn_timm_8xb2-lsj-3x_coco.py"

model = dict(backbone=dict(model="convnext_small"))
