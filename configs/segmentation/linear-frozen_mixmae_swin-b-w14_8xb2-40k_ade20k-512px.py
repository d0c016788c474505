"""A linear layer on frozen MixMAE Swin-B/W14 on ADE20K at 512 px; not published.

Recipe: chosen here, after DINOv2's linear segmentation (arXiv 2304.07193).
"""

_base_ = [
    "../_base_/models/linear_segmentor.py",
    "../_base_/backbones/mixmae_swin-b-w14.py",
    "../_base_/datasets/ade20k_512.py",
    "../_base_/schedules/linear_segmentation_40k.py",
]

model = dict(
    backbone=_base_.pop("backbone"),
)
