"""MixMAE Swin-L/W14 fine-tuned on ImageNet-1K at 224 px.

Published: 85.9 % top-1 after 600 epochs of pretraining (README of Sense-X/MixMIM at 2b2f5a9), without the
recipe. Chosen here: Swin-B's recipe, with the drop path of SimMIM's Swin-L (0.2).
"""

_base_ = "./mixmae_swin-b-w14_8xb128-100e_in1k.py"

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.2),
    head=dict(in_channels=1536),
)
train_dataloader = dict(batch_size=64)
