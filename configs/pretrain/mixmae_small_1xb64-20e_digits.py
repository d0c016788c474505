"""MixMAE pretraining of the small encoder on the embedded digits.

Not published. Mask ratio, targets and optimiser as in the official repository (Sense-X/MixMIM at
2b2f5a9); cells of 8 px, so that a 32-px scene has 4 x 4 of them; learning rate and length chosen to
learn within minutes on two CPU cores.
"""

_base_ = ["../_base_/datasets/digits_pretrain.py", "../_base_/digits_runtime.py"]

default_scope = "mmpretrain"
model = dict(
    type="mixmae_bench.MixMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32),
    decoder=dict(dim=64, depth=2, num_heads=4),
    mask_ratio=0.5,
    norm_pix=True,
    data_preprocessor=_base_.data_preprocessor,
)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=6e-3 * 64 / 256, betas=(0.9, 0.95), weight_decay=0.05),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=2, end=20, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=20)
