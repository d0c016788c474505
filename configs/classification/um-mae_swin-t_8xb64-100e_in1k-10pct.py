"""UM-MAE Swin-T fine-tuned on 10 % of ImageNet-1K's labels (SimCLR's list); not published.

Chosen: as on all of ImageNet with MAE's code, at half the batch and as many epochs, with the method's own
layer decay (0.85). Windows of 14, which divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/imagenet_finetune_224_10pct.py",
    "../_base_/schedules/finetune_100e_bs512.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(window_size=14))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
train_dataloader = dict(batch_size=64)
