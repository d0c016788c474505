"""MixMAE's pretraining schedule at half its length, as in mmpretrain's configs/mixmim."""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-4 * 2048 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",  # no lr decay; 1-D parameters not decayed
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, end=40, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=40, end=300, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=300)
auto_scale_lr = dict(base_batch_size=2048)
