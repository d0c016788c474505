"""ImageNet-1K for fine-tuning at 224 px, as in all recipes here: RandAugment, erasing; 224 of 256 px."""

_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"

dataset = dict(type="mixmae_bench.ImageNet")
train_dataloader = dict(num_workers=8, persistent_workers=True, drop_last=True, dataset=dataset)
val_dataloader = dict(num_workers=8, persistent_workers=True, dataset=dataset)
test_dataloader = val_dataloader
