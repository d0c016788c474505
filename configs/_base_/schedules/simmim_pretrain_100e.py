"""SimMIM's pretraining schedule of 100 epochs (microsoft/SimMIM at d3e29bc): batch 2048, cosine."""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4 * 2048 / 512, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(no_decay=["mask_token"]),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",  # no lr decay; 1-D parameters not decayed
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6 / 2e-4, by_epoch=True, end=10, convert_to_iter_based=True),
    dict(
        type="CosineAnnealingLR",
        by_epoch=True,
        begin=10,
        end=100,
        eta_min=1e-5 * 2048 / 512,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
