"""MixMAE's Swin-T/W14 fine-tuned on ImageNet-100 at 224 px, 50 epochs.

Chosen here, not published: a row of the suite one-gpu-day.
"""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/backbones/mixmae_swin-t-w14.py",
    "../_base_/datasets/imagenet100_finetune_224.py",
    "../_base_/schedules/finetune_50e_bs256.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=_base_.pop("backbone"), head=dict(in_channels=768))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
