"""Linear probe of MixMAE Swin-B/W14 on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, appendix A). No result is published.
"""

_base_ = ["../_base_/probes/linear_in1k.py", "../_base_/backbones/mixmae_swin-b-w14.py"]

model = dict(
    backbone=_base_.pop("backbone"),
    neck=dict(in_channels=1024),
    head=dict(in_channels=1024),
)
