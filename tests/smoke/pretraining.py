"""The digits suite's pretraining, cut to seconds."""

_base_ = "../../configs/pretrain/mixmae_mixmae-swin-small_1xb32-12e_digits.py"

train_dataloader = dict(batch_size=8, dataset=dict(indices=16))
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = []
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
train_cfg = dict(max_epochs=2)
