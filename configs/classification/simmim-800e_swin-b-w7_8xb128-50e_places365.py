"""SimMIM Swin-B fine-tuned on Places365 at 224 px; not published.

Chosen here: MAE's fine-tuning on ImageNet, with half the epochs and the method's own layer decay (0.8).
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b-w7.py",
    "../_base_/datasets/places365_224.py",
    "../_base_/schedules/finetune_50e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(head=dict(num_classes=365))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8, no_decay=["relative_position_bias_table"]))
