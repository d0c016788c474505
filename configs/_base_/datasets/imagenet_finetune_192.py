"""ImageNet-1K for fine-tuning at 192 px, tested on 192 of 219 px, as in microsoft/SimMIM at d3e29bc."""

_base_ = "./imagenet_finetune_224.py"

train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 192
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 219
test_pipeline[2].crop_size = 192
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
