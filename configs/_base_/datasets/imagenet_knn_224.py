"""ImageNet-1K for nearest neighbours at 224 px: training images are cropped like test images."""

_base_ = "./imagenet_finetune_224.py"

train_dataloader = dict(batch_size=256, drop_last=False, dataset=dict(pipeline=_base_.test_pipeline))
val_dataloader = dict(batch_size=256)
test_dataloader = val_dataloader
