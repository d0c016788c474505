"""Mask R-CNN with any timm model on COCO, 36 epochs, large-scale jittering at 1024 px; not published.

Give the model with `--cfg-options model.backbone.model=NAME`. Test images are at most 1024 px, as some models
accept one size only. Chosen here: layer decay 0.8, drop path 0.1.
"""

_base_ = [
    "../_base_/models/mask-rcnn.py",
    "../_base_/backbones/timm.py",
    "../_base_/datasets/coco_lsj-1024.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), img_size=1024, drop_path_rate=0.1),
    neck=dict(in_channels=None),
)
test_pipeline = [
    dict(step, scale=(1024, 1024)) if step["type"] == "Resize" else step
    for step in _base_.val_dataloader.dataset.pipeline
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
