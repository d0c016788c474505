"""SimMIM pretraining of the small encoder on the embedded digits; not published.

Mask ratio and loss as in the official repository (microsoft/SimMIM at d3e29bc). Mask patches are as large as
the encoder's last stride: 8 px here, 32 px there. The decoder is SimMIM's linear one.
"""

_base_ = [
    "../_base_/datasets/digits_pretrain.py",
    "../_base_/schedules/digits_pretrain_12e.py",
    "../_base_/digits_runtime.py",
]

default_scope = "mmpretrain"
model = dict(
    type="mixmae_bench.SimMIM",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32),
    mask_patch_size=8,
    mask_ratio=0.6,
    data_preprocessor=_base_.data_preprocessor,
)
