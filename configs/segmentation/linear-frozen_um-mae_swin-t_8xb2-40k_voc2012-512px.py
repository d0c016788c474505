"""A linear layer on frozen UM-MAE Swin-T on Pascal VOC 2012 (aug) at 512 px; not published.

Recipe: chosen here, after DINOv2's linear segmentation (arXiv 2304.07193).
"""

_base_ = [
    "../_base_/models/linear_segmentor.py",
    "../_base_/backbones/um-mae_swin-t-w16.py",
    "../_base_/datasets/voc2012_512.py",
    "../_base_/schedules/linear_segmentation_40k.py",
]

model = dict(
    backbone=_base_.pop("backbone"),
    decode_head=dict(num_classes=21),
)
