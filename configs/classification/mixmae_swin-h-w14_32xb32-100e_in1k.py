"""MixMAE Swin-H/W14 fine-tuned on ImageNet-1K at 224 px; neither result nor recipe is published.

Chosen: as for Swin-B, with the drop path of MAE's ViT-H (0.3).
"""

_base_ = [
    "../_base_/models/classifier_mixmae_swin-b.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    backbone=dict(arch="huge", drop_path_rate=0.3, with_cp=True),
    head=dict(in_channels=2816),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, head_decays=True))
train_dataloader = dict(batch_size=32)
