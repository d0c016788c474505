"""ImageNet-1K for fine-tuning at 384 px; tested as in MAE's code above 224 px: the whole short edge."""

_base_ = "./imagenet_finetune_224.py"

train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 384
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 384
test_pipeline[2].crop_size = 384
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
