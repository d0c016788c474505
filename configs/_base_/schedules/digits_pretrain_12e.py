"""12 epochs of pretraining on the embedded digits, the same for every method; not published.

AdamW as in the official repositories. The learning rate and the number of epochs are chosen to learn within
minutes on two CPU cores.
"""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-3, betas=(0.9, 0.95), weight_decay=0.05),
)
auto_scale_lr = dict(base_batch_size=32)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=1, end=12, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=12)
custom_hooks = [dict(type="mixmae_bench.ReconstructionHook", interval=12)]
