"""SimMIM Swin-B, pretrained for 100 epochs, fine-tuned on ImageNet-1K at 192 px.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 82.8 % top-1 (its README).
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b-w7.py",
    "../_base_/datasets/imagenet_finetune_192.py",
    "../_base_/schedules/simmim_finetune_100e_bs2048.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(window_size=6, img_size=192))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9, no_decay=["relative_position_bias_table"]))
