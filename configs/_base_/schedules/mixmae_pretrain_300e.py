"""MixMAE's pretraining schedule at half its length, as in mmpretrain's configs/mixmim."""

_base_ = "./mixmae_pretrain_600e.py"

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=300)
train_cfg = dict(max_epochs=300)
