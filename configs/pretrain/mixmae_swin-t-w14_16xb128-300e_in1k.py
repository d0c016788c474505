"""MixMAE on its own Swin-T/W14 at 224 px, 300 epochs; not published: a row of the controlled comparison.

Recipe: that of the Swin-B; only the size of the encoder differs.
"""

_base_ = "./mixmae_swin-b-w14_16xb128-300e_in1k.py"

model = dict(backbone=dict(arch="tiny"))
