"""A linear layer on frozen SimMIM Swin-B on Cityscapes in crops of 512x1024 px; not published.

Recipe: chosen here, after DINOv2's linear segmentation (arXiv 2304.07193).
"""

_base_ = [
    "../_base_/models/linear_segmentor.py",
    "../_base_/backbones/simmim_swin-b-w7.py",
    "../_base_/datasets/cityscapes_512x1024.py",
    "../_base_/schedules/linear_segmentation_40k.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=_base_.pop("backbone"),
    decode_head=dict(num_classes=19),
)
