"""Linear probe of UM-MAE Swin-T on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, appendix A). No result is published. The windows are 14 wide and divide the
maps at 224 px.
"""

_base_ = ["../_base_/probes/linear_in1k.py", "../_base_/backbones/um-mae_swin-t-w16.py"]

model = dict(
    backbone=dict(_base_.pop("backbone"), window_size=14, final_norm=True),
    neck=dict(in_channels=768),
    head=dict(in_channels=768),
)
