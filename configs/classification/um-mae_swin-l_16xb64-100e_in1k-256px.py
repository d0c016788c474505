"""UM-MAE Swin-L fine-tuned on ImageNet-1K at 256 px.

Published: 85.2 % top-1 (README of implus/UM-MAE at cb7776b), without the recipe. Chosen here: Swin-T's
recipe, with the drop path of SimMIM's Swin-L (0.2).
"""

_base_ = "./um-mae_swin-t_8xb128-100e_in1k-256px.py"

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.2),
    neck=dict(in_channels=1536),
    head=dict(in_channels=1536),
)
train_dataloader = dict(batch_size=64)
