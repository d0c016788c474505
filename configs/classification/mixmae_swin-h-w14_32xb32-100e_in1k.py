"""MixMAE Swin-H/W14 fine-tuned on ImageNet-1K at 224 px; neither a result nor a recipe is published.

Chosen here: Swin-B's recipe, with the drop path of MAE's ViT-H (0.3).
"""

_base_ = "./mixmae_swin-b-w14_8xb128-100e_in1k.py"

model = dict(
    backbone=dict(arch="huge", drop_path_rate=0.3, with_cp=True),
    head=dict(in_channels=2816),
)
train_dataloader = dict(batch_size=32)
