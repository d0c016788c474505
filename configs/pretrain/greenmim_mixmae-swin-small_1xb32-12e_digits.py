"""GreenMIM pretraining of the small encoder on the embedded digits; not published.

Mask ratio and targets as in the official repository (LayneH/GreenMIM at a79f8b4). Mask patches are as large
as the encoder's last stride: 8 px here, 32 px there. A 32-px scene has 4 x 4 of them, 4 visible. The decoder
has MixMAE's size.
"""

_base_ = [
    "../_base_/datasets/digits_pretrain.py",
    "../_base_/schedules/digits_pretrain_12e.py",
    "../_base_/digits_runtime.py",
]

default_scope = "mmpretrain"
model = dict(
    type="mixmae_bench.GreenMIM",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32),
    decoder=dict(dim=64, depth=2, num_heads=4),
    mask_ratio=0.75,
    norm_pix_loss=True,
    data_preprocessor=_base_.data_preprocessor,
)
