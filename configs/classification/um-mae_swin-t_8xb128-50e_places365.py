"""UM-MAE Swin-T fine-tuned on Places365 at 224 px; not published.

Chosen: as on ImageNet with MAE's code, at half the epochs and the method's own layer decay (0.85). Windows
of 14, which divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/places365_224.py",
    "../_base_/schedules/finetune_50e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(window_size=14), head=dict(num_classes=365))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85))
train_dataloader = dict(batch_size=128)
