"""UM-MAE Swin-T fine-tuned on ImageNet-1K at 256 px.

Recipe: the official repository (implus/UM-MAE at cb7776b). Published: 82.04 % top-1 (its README).
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t-w16.py",
    "../_base_/datasets/imagenet_finetune_256.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
