"""UM-MAE Swin-L fine-tuned on ImageNet-1K at 256 px.

Published: 85.2 % top-1 (README of implus/UM-MAE at cb7776b). Chosen: the recipe, as for Swin-T, with the
drop path of SimMIM's Swin-L (0.2).
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/imagenet_finetune_256.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.2),
    neck=dict(in_channels=1536),
    head=dict(in_channels=1536),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
train_dataloader = dict(batch_size=64)
