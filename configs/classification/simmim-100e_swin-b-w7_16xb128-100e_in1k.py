"""SimMIM Swin-B, pretrained for 100 epochs, fine-tuned on ImageNet-1K at 224 px.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 83.5 % top-1 (its README).
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b-w7.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/simmim_finetune_100e_bs2048.py",
    "../_base_/mmpretrain_runtime.py",
]

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9, no_decay=["relative_position_bias_table"]))
