"""ADE20K at 640 px, loaded as at 512 px."""

_base_ = "./ade20k_512.py"

crop_size = (640, 640)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = (2560, 640)
train_pipeline[3].crop_size = crop_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (2560, 640)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
