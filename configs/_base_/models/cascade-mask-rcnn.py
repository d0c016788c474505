"""mmdet's Cascade Mask R-CNN with FPN, without its ResNet-50: for any backbone, all four stages of it."""

_base_ = "mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py"

model = dict(backbone=dict(_delete_=True, out_indices=(0, 1, 2, 3)))
