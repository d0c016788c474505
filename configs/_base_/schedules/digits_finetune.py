"""Fine-tuning on the embedded digits; not published. Configs set the length (`end` and `train_cfg`).

The learning rate and the layer decay are only defaults: the digits suite tunes them for each initialisation.
"""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(layer_decay_rate=1.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=1, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True)
val_cfg = dict()
test_cfg = dict()
