"""GFL with UM-MAE Swin-T on COCO, 25 epochs, large-scale jittering.

Recipe: the official repository (implus/UM-MAE at cb7776b), from the checkpoint fine-tuned on ImageNet.
Published: 47.7 box AP (arXiv 2205.10063). The batch size was not found; 16 is mmdet's default.
"""

_base_ = ["mmdet::gfl/gfl_r50_fpn_1x_coco.py", "../_base_/backbones/um-mae_swin-t-w16.py"]

custom_imports = dict(imports=["mixmae_bench"])
randomness = dict(seed=0, diff_rank_seed=True)
model = dict(
    backbone=dict(_base_.pop("backbone"), _delete_=True, drop_path_rate=0.1, out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute_range",
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Pad", size=(1024, 1024)),
    dict(type="PackDetInputs"),
]
test_pipeline = [dict(type="mixmae_bench.LoadImage"), *_base_.test_pipeline[1:]]
train_dataloader = dict(num_workers=4, batch_sampler=None, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, end=1000),
    dict(type="CosineAnnealingLR", by_epoch=True, end=25, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=25, val_interval=25)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
