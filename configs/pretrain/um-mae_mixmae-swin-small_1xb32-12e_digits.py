"""UM-MAE pretraining of the small encoder on the embedded digits; not published.

Ratios and targets as in the official repository (implus/UM-MAE at cb7776b). Mask patches are half as large
as the encoder's last stride: 4 px here, 16 px there. A 32-px scene has 8 x 8 of them, 16 visible. The
decoder has MixMAE's size, and each mask patch has its own position in it (U1 corrected).
"""

_base_ = [
    "../_base_/datasets/digits_pretrain.py",
    "../_base_/schedules/digits_pretrain_12e.py",
    "../_base_/digits_runtime.py",
]

default_scope = "mmpretrain"
model = dict(
    type="mixmae_bench.UMMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32),
    decoder=dict(dim=64, depth=2, num_heads=4),
    mask_patch_size=4,
    secondary_mask_ratio=0.25,
    norm_pix_loss=True,
    official_positions=False,
    data_preprocessor=_base_.data_preprocessor,
)
