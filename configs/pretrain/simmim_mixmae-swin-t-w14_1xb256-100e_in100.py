"""SimMIM on MixMAE's Swin-T/W14, ImageNet-100, 100 epochs.

Chosen here, not published: a row of the suite one-gpu-day.
Mask and loss as in the official repository (microsoft/SimMIM at d3e29bc); the rest is MixMAE's.
"""

_base_ = [
    "../_base_/models/simmim_swin-b-w6.py",
    "../_base_/datasets/imagenet100_pretrain_224.py",
    "../_base_/schedules/pretrain_100e_bs256.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(_delete_=True, type="mixmae_bench.MixMAESwin", arch="tiny"))
