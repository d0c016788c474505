"""The digits suite's segmentation, cut to seconds."""

_base_ = "../../configs/segmentation/upernet_mixmae-swin-small_1xb32-12e_digits.py"

train_dataloader = dict(batch_size=8, dataset=dict(indices=16))
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = []
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
val_dataloader = dict(dataset=dict(indices=16))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=2)
