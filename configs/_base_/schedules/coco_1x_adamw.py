"""COCO's 1x schedule with AdamW, batch 16: 12 epochs, steps at 8 and 11, as for Swin (arXiv 2103.14030)."""

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, end=1000),
    dict(type="MultiStepLR", by_epoch=True, end=12, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=12, val_interval=12)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
auto_scale_lr = dict(base_batch_size=16)
