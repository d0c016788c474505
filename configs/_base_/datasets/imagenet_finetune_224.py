"""ImageNet-1K for fine-tuning at 224 px, as in all recipes here.

Trained with RandAugment and random erasing; tested on 224 of 256 px.
"""

_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"

train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="mixmae_bench.RandomResizedCrop", scale=224, interpolation="bicubic"),
    *_base_.train_pipeline[2:],
]
test_pipeline = [dict(type="mixmae_bench.LoadImage"), *_base_.test_pipeline[1:]]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type="mixmae_bench.ImageNet", pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=8,
    persistent_workers=True,
    dataset=dict(type="mixmae_bench.ImageNet", pipeline=test_pipeline),
)
test_dataloader = val_dataloader
