"""Fine-tuning of MAE's code on ImageNet-1K.

MixMAE (Sense-X/MixMIM at 2b2f5a9) and UM-MAE (implus/UM-MAE at cb7776b) use it, too. The minimum learning
rate is scaled per layer, like the learning rate.
"""

lr = 5e-4 * 1024 / 256
optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=5,
        end=100,
        eta_min_ratio=1e-6 / lr,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=1024)
