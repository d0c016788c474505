"""UperNet with MaskFeat's ViT-B on ADE20K at 512 px; not published.

Recipe: that of any timm model here.
"""

_base_ = "./upernet_timm_8xb2-160k_ade20k-512px.py"

model = dict(backbone=dict(model="vit_base_patch16_224"))
