"""GreenMIM's pretraining schedule, 800 epochs, with Swin-B/W7: batch 2048, warm-up 40, cosine.

Values of LayneH/GreenMIM at 16ebafe: scripts/run_mae_swin_base.sh (base learning rate 1e-4, weight decay, 256
images per GPU, epochs, warm-up) on the 8 GPUs of README.md; main_pretrain.py (AdamW's betas, cosine to 0, no
decay of 1-D parameters, bias tables and the mask token).
"""

optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4 * 2048 / 256, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(no_decay=["mask_token", "relative_position_bias_table"]),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",  # no lr decay; 1-D parameters not decayed
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, by_epoch=True, end=40, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=40, end=800, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=800)
auto_scale_lr = dict(base_batch_size=2048)
