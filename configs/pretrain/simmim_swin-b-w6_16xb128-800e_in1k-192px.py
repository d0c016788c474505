"""SimMIM pretraining of Swin-B on ImageNet-1K, 800 epochs.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 84.0 % top-1 after fine-tuning at
224 px (the repository's README).
"""

_base_ = [
    "../_base_/models/simmim_swin-b-w6.py",
    "../_base_/datasets/imagenet_pretrain_192.py",
    "../_base_/schedules/simmim_pretrain_800e.py",
    "../_base_/mmpretrain_runtime.py",
]
