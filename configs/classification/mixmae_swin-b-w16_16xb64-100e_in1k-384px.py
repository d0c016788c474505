"""MixMAE Swin-B/W16 fine-tuned on ImageNet-1K at 384 px.

Published: 86.3 % top-1 after 600 epochs of pretraining, and the window sizes (Sense-X/MixMIM at 2b2f5a9).
Chosen here: the rest of the recipe, as at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b-w14.py",
    "../_base_/datasets/imagenet_finetune_384.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(arch="base_384", img_size=384))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
train_dataloader = dict(batch_size=64)
