"""UM-MAE on MixMAE's Swin-T/W14 at 256 px, 300 epochs; not published: a row of the controlled comparison.

All but the size of the encoder is as in the config of the Swin-B.
"""

_base_ = "./um-mae_mixmae-swin-b-w14_16xb128-300e_in1k-256px.py"

model = dict(backbone=dict(arch="tiny"))
