"""UperNet with Hiera-B, pretrained by MAE (arXiv 2306.00989), on ADE20K at 512 px.

Recipe: that of any timm model here, not the published one.
"""

_base_ = "./upernet_timm_8xb2-160k_ade20k-512px.py"

model = dict(backbone=dict(model="hiera_base_224.mae"))
