"""Any timm model fine-tuned on ImageNet-1K at 224 px; not published.

Give the model with `--cfg-options model.backbone.model=NAME`, or a checkpoint of a suite with
`--checkpoint NAME=timm:MODEL.TAG`. The head reads timm's own pooled features. Chosen here: MAE's schedule,
layer decay 0.75.
"""

_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/backbones/timm.py",
    "../_base_/datasets/imagenet_finetune_224.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(_base_.pop("backbone"), img_size=224, pooled=True), head=dict(in_channels=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
