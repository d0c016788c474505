"""GreenMIM on MixMAE's Swin-T/W14 at 224 px, 300 epochs; not published: a row of the controlled comparison.

All but the size of the encoder is as in the config of the Swin-B.
"""

_base_ = "./greenmim_mixmae-swin-b-w14_16xb128-300e_in1k.py"

model = dict(backbone=dict(arch="tiny"))
