"""MixMAE pretraining of a Swin-T/W14 on ImageNet-100, 100 epochs.

Chosen here, not published: a row of the suite one-gpu-day.
Mask, decoder and targets as in the official repository (Sense-X/MixMIM at 2b2f5a9).
"""

_base_ = [
    "../_base_/models/mixmae_swin-b-w14.py",
    "../_base_/datasets/imagenet100_pretrain_224.py",
    "../_base_/schedules/pretrain_100e_bs256.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(arch="tiny"))
