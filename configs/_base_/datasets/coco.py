"""COCO 2017 with masks, 1333x800 px: mmdet's own data. The error for a damaged file names the file."""

_base_ = "mmdet::_base_/datasets/coco_instance.py"

train_pipeline = [dict(type="mixmae_bench.LoadImage"), *_base_.train_pipeline[1:]]
test_pipeline = [dict(type="mixmae_bench.LoadImage"), *_base_.test_pipeline[1:]]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
