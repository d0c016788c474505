"""SimMIM Swin-L of 800 epochs of pretraining, fine-tuned on ImageNet-1K at 224 px, windows of 14.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 85.4 % top-1 (its README).
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/simmim_finetune_100e_bs2048.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    backbone=dict(arch="large", window_size=14, drop_path_rate=0.2),
    head=dict(in_channels=1536),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.7, no_decay=["relative_position_bias_table"]))
train_dataloader = dict(batch_size=128)
