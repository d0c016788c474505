"""MAE ViT-B fine-tuned on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, table 9). Published: 83.6 % top-1. `mixmae-bench convert` converts MAE's
checkpoints to this backbone.
"""

_base_ = [
    "../_base_/models/classifier_mae_vit-b-p16.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65, no_decay=["cls_token"]))
