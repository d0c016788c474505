"""MixMAE pretraining of Swin-H/W14 on ImageNet-1K, 600 epochs.

Recipe: the official repository (Sense-X/MixMIM at 2b2f5a9), which has this model in its code. No result is
published. The batch of 2048 is spread over 32 GPUs, because 600 M parameters and 128 images hardly fit on
one.
"""

_base_ = "./mixmae_swin-b-w14_16xb128-600e_in1k.py"

model = dict(backbone=dict(arch="huge", with_cp=True))
train_dataloader = dict(batch_size=64)
