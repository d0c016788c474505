"""MixMAE Swin-L/W16 fine-tuned on ImageNet-1K at 384 px.

Published: 86.9 % top-1 after 600 epochs of pretraining, and the window sizes (Sense-X/MixMIM at 2b2f5a9).
Chosen here: the rest of the recipe, as for Swin-L at 224 px.
"""

_base_ = "./mixmae_swin-b-w16_16xb64-100e_in1k-384px.py"

model = dict(
    backbone=dict(arch="large_384", drop_path_rate=0.2),
    head=dict(in_channels=1536),
)
train_dataloader = dict(batch_size=32)
