"""MixMAE's Swin-T/W14 fine-tuned on ImageNet-1K at 224 px; not published: a row of `controlled`.

Recipe: that of the Swin-B.
"""

_base_ = "./mixmae_swin-b-w14_8xb128-100e_in1k.py"

model = dict(backbone=dict(arch="tiny"), head=dict(in_channels=768))
