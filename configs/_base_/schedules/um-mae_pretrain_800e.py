"""UM-MAE's pretraining schedule, 800 epochs (implus/UM-MAE at cb7776b): batch 4096, warm-up 40, cosine."""

_base_ = "./um-mae_pretrain_200e.py"

param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=40)
param_scheduler[1].update(begin=40, end=800)
train_cfg = dict(max_epochs=800)
