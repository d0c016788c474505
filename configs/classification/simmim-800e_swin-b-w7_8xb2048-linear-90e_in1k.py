"""Linear probe of SimMIM Swin-B on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, appendix A). No result is published.
"""

_base_ = ["../_base_/probes/linear_in1k.py", "../_base_/backbones/simmim_swin-b-w7.py"]

model = dict(
    backbone=_base_.pop("backbone"),
    neck=dict(in_channels=1024),
    head=dict(in_channels=1024),
)
