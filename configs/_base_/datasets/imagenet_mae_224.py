"""ImageNet-1K for pretraining by MAE's recipe: crops of at least 20 % of the image at 224 px, and flips."""

mae_dataloader = dict(
    # Replaced, because mmengine would pass the `_scope_` of mmpretrain's dict to the function.
    collate_fn=dict(_delete_=True, type="default_collate"),
    dataset=dict(
        type="mixmae_bench.ImageNet",
        pipeline=[
            dict(type="mixmae_bench.LoadImage"),
            dict(
                type="mixmae_bench.RandomResizedCrop",
                scale=224,
                crop_ratio_range=(0.2, 1.0),
                interpolation="bicubic",
            ),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PackInputs"),
        ],
    ),
)
