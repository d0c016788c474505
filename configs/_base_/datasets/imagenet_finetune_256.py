"""ImageNet-1K for fine-tuning at 256 px, tested on the whole short edge, as MAE's code does above 224 px."""

_base_ = "./imagenet_finetune_224.py"

train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 256
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 256
test_pipeline[2].crop_size = 256
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
