"""ConvNeXt V2-B, pretrained by FCMAE (arXiv 2301.00808), fine-tuned on ImageNet-1K at 224 px.

Give its checkpoint with `--checkpoint NAME=timm:convnextv2_base.fcmae` of a suite, or in
`init_cfg`. Recipe: that of any timm model here, not the published one.
"""

_base_ = "./timm_8xb128-100e_in1k.py"

model = dict(backbone=dict(model="convnextv2_base.fcmae"))
