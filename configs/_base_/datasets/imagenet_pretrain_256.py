"""ImageNet-1K for pretraining at 256 px, for UM-MAE: crops and flip of MAE, which its code is built on."""

_base_ = "mmpretrain::_base_/datasets/imagenet_bs512_mae.py"

train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(
        type="mixmae_bench.RandomResizedCrop",
        scale=256,
        crop_ratio_range=(0.2, 1.0),
        interpolation="bicubic",
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
train_dataloader = dict(
    drop_last=True,
    # Anew: from a base of another package it comes with a scope, which mmengine hands to the function.
    collate_fn=dict(_delete_=True, type="default_collate"),
    dataset=dict(type="mixmae_bench.ImageNet", pipeline=train_pipeline),
)
