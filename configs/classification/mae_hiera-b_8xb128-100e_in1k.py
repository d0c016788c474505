"""Hiera-B, pretrained by MAE (arXiv 2306.00989), fine-tuned on ImageNet-1K at 224 px.

Give its checkpoint with `--checkpoint NAME=timm:hiera_base_224.mae` of a suite, or in
`init_cfg`. Recipe: that of any timm model here, not the published one.
"""

_base_ = "./timm_8xb128-100e_in1k.py"

model = dict(backbone=dict(model="hiera_base_224.mae"))
