"""Fine-tuning on a data set about twice as large as ImageNet (Places): half the epochs; not published."""

_base_ = "./finetune_100e_bs1024.py"
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=50)
train_cfg = dict(max_epochs=50)
