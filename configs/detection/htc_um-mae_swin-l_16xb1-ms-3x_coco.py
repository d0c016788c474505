"""HTC with UM-MAE Swin-L on COCO, 3x schedule, multi-scale.

Published: 57.4 box AP, 49.8 mask AP (README of implus/UM-MAE at cb7776b) with HTC++, without its settings.
Chosen here: mmdet's HTC with its semantic head, which needs COCO's `stuffthingmaps`, and 400 to 1400 px as
in Swin's HTC++. InstaBoost, soft NMS and test-time augmentation are left out, so the result should be lower.
"""

_base_ = "mmdet::htc/htc_r50_fpn_1x_coco.py"

custom_imports = dict(imports=["mixmae_bench"])
randomness = dict(seed=0, diff_rank_seed=True)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.UMSwin",
        arch="large",
        window_size=16,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, with_seg=True),
    dict(type="RandomResize", scale=[(1600, 400), (1600, 1400)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [dict(type="mixmae_bench.LoadImage"), *_base_.test_pipeline[1:]]
train_dataloader = dict(batch_size=1, num_workers=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, end=1000),
    dict(type="MultiStepLR", by_epoch=True, end=36, milestones=[27, 33], gamma=0.1),
]
train_cfg = dict(max_epochs=36, val_interval=12)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
