"""A short fine-tuning for one GPU: as on ImageNet, with batch 256 and 50 epochs; not published."""

_base_ = "./finetune_100e_bs1024.py"
lr = 5e-4 * 256 / 256
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=50, eta_min_ratio=1e-6 / lr)
train_cfg = dict(max_epochs=50, val_interval=50)
auto_scale_lr = dict(base_batch_size=256)
