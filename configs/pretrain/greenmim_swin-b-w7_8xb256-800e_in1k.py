"""GreenMIM pretraining of Swin-B/W7 on ImageNet-1K, 800 epochs.

Recipe: the official repository (LayneH/GreenMIM; the base configs name the files). Published: 83.8 % top-1
after fine-tuning at 224 px (the repository's README at b981012).
"""

_base_ = [
    "../_base_/models/greenmim_swin-b-w7.py",
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/greenmim_pretrain_800e.py",
    "../_base_/mmpretrain_runtime.py",
]

train_dataloader = dict(batch_size=256)
