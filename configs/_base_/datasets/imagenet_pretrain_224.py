"""ImageNet-1K for pretraining at 224 px, as MixMAE (Sense-X/MixMIM at 2b2f5a9) and MAE."""

_base_ = "mmpretrain::_base_/datasets/imagenet_bs512_mae.py"

train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(
        type="mixmae_bench.RandomResizedCrop",
        scale=224,
        crop_ratio_range=(0.2, 1.0),
        interpolation="bicubic",
    ),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    batch_size=128,
    drop_last=True,
    # Replaced, because mmengine would pass the `_scope_` of mmpretrain's dict to the function.
    collate_fn=dict(_delete_=True, type="default_collate"),
    dataset=dict(type="mixmae_bench.ImageNet", pipeline=train_pipeline),
)
