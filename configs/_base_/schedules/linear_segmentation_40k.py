"""40,000 iterations of batch 16 for a linear layer: AdamW, warm-up of 1500, linear decay.

Chosen here, after DINOv2's linear segmentation (arXiv 2304.07193).
"""

_base_ = "mmseg::_base_/schedules/schedule_40k.py"

optim_wrapper = dict(
    _delete_=True,
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.999), weight_decay=1e-4),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=40000),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=16)
