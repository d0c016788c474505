"""Mask R-CNN with MixMAE's Swin-T/W14 on COCO, 12,000 iterations.

Chosen here, not published: a row of the suite one-gpu-day.
Layer decay and drop path as in this package's 1x schedule of the Swin-B. bfloat16, with boxes in float32.
"""

_base_ = [
    "../_base_/models/mask-rcnn.py",
    "../_base_/backbones/mixmae_swin-t-w14.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/coco_12k_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.1),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
train_dataloader = dict(batch_size=16, sampler=dict(type="InfiniteSampler"), batch_sampler=None)
optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper", paramwise_cfg=dict(layer_decay_rate=0.9))
