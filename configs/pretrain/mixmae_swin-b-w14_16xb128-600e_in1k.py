"""MixMAE pretraining of Swin-B/W14 on ImageNet-1K, 600 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9). Published: 85.1 % top-1 after fine-tuning at
224 px (the repository's README; arXiv 2205.13137). Not run here.
"""

_base_ = ["mmpretrain::_base_/datasets/imagenet_bs512_mae.py", "mmpretrain::_base_/default_runtime.py"]

model = dict(
    type="mixmae_bench.MixMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="base"),
    decoder=dict(dim=512, depth=8, num_heads=16),
    mask_ratio=0.5,
    norm_pix=True,
)
train_dataloader = dict(batch_size=128, drop_last=True)
optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-4 * 2048 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",  # no lr decay; 1-D parameters not decayed
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, end=40, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=40, end=600, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=600)
