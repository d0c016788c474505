"""20 epochs of fine-tuning on the embedded digits; not published. Layer decay as in MixMAE's fine-tuning."""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(layer_decay_rate=0.7),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=1, end=20, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=20)
val_cfg = dict()
test_cfg = dict()
