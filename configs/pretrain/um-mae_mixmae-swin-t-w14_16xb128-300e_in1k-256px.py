"""UM-MAE on MixMAE's Swin-T/W14 at 256 px, 300 epochs; not published: a row of the controlled comparison.

Recipe: that of the Swin-B; only the size of the encoder differs.
"""

_base_ = "./um-mae_mixmae-swin-b-w14_16xb128-300e_in1k-256px.py"

model = dict(backbone=dict(arch="tiny"))
