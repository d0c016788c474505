"""MAE's HiViT-B fine-tuned on ImageNet-1K at 224 px.

Chosen here: MAE's recipe, layer decay 0.8. Published: 84.6 % top-1, by another recipe and for 66 M
parameters (zhangxiaosong18/hivit; see the pretraining config). `mixmae-bench convert` converts mmpretrain's
checkpoints of MAE and of iTPN to this backbone.
"""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/backbones/hivit-b-p16.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=_base_.pop("backbone"), head=dict(in_channels=512))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
