"""UM-MAE's pretraining schedule, 800 epochs (implus/UM-MAE at cb7776b): batch 4096, warm-up 40, cosine."""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-4 * 4096 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",  # no lr decay; 1-D parameters not decayed
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, end=40, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=40, end=800, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=800)
auto_scale_lr = dict(base_batch_size=4096)
