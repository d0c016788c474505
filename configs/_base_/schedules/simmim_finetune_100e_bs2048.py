"""SimMIM's fine-tuning (microsoft/SimMIM at d3e29bc): batch 2048, warm-up of 20 epochs, gradients clipped."""

lr = 1.25e-3 * 2048 / 512
optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=2.5e-7 / 1.25e-3, by_epoch=True, end=20, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=20,
        end=100,
        eta_min_ratio=2.5e-7 / 1.25e-3,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=2048)
