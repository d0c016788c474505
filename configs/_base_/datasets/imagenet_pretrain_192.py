"""ImageNet-1K for pretraining at 192 px, as SimMIM (microsoft/SimMIM at d3e29bc).

mmpretrain's has the same crops, resized by OpenCV, and draws masks, which the methods here do themselves.
"""

_base_ = "mmpretrain::_base_/datasets/imagenet_bs512_mae.py"

train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(
        type="mixmae_bench.RandomResizedCrop",
        scale=192,
        crop_ratio_range=(0.67, 1.0),
        interpolation="bilinear",
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
