"""UperNet with ConvNeXt V2-B, pretrained by FCMAE (arXiv 2301.00808), on ADE20K at 512 px.

Recipe: that of any timm model here, not the published one.
"""

_base_ = "./upernet_timm_8xb2-160k_ade20k-512px.py"

model = dict(backbone=dict(model="convnextv2_base.fcmae"))
