"""Fine-tuning on a very small data set: half of ImageNet's batch, twice its epochs; not published."""

_base_ = "./finetune_100e_bs512.py"
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=10)
param_scheduler[1].update(begin=10, end=200)
train_cfg = dict(max_epochs=200)
