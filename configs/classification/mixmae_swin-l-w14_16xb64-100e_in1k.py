"""MixMAE Swin-L/W14 fine-tuned on ImageNet-1K at 224 px.

Published: 85.9 % top-1 after 600 epochs of pretraining (README of Sense-X/MixMIM at 2b2f5a9), the recipe
not: chosen as for Swin-B, with the drop path of SimMIM's Swin-L (0.2).
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.2),
    head=dict(in_channels=1536),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
train_dataloader = dict(batch_size=64)
