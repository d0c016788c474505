"""SimMIM Swin-B fine-tuned on 10 % of ImageNet-1K's labels (SimCLR's list); not published.

Chosen here: MAE's fine-tuning on all of ImageNet, with half the batch, the same number of epochs and the
method's own layer decay (0.8).
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b-w7.py",
    "../_base_/datasets/imagenet_finetune_224_10pct.py",
    "../_base_/schedules/finetune_100e_bs512.py",
    "../_base_/mmpretrain_runtime.py",
]

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8, no_decay=["relative_position_bias_table"]))
