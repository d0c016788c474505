"""ImageNet-1K for pretraining at 256 px, for UM-MAE: crops and flips of MAE's code, which it is built on."""

_base_ = "./imagenet_pretrain_224.py"

train_pipeline = [*_base_.train_pipeline[:2], dict(type="RandomFlip", prob=0.5), dict(type="PackInputs")]
train_pipeline[1].scale = 256
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=train_pipeline))
