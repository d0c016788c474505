"""Linear probe of MAE ViT-B on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, appendix A). Published: 67.8 % top-1 (FINETUNE.md of facebookresearch/mae),
from the class token. Here the probe takes the mean over patches.
"""

_base_ = ["../_base_/probes/linear_in1k.py", "../_base_/backbones/mae_vit-b-p16.py"]

model = dict(
    backbone=_base_.pop("backbone"),
    neck=dict(in_channels=768),
    head=dict(in_channels=768),
)
