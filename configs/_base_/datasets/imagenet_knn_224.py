"""ImageNet-1K for nearest neighbours at 224 px: training images as test images, 224 of 256 px."""

_base_ = "./imagenet_finetune_224.py"

train_dataloader = dict(batch_size=256, drop_last=False, dataset=dict(pipeline=_base_.test_pipeline))
val_dataloader = dict(batch_size=256)
test_dataloader = val_dataloader
