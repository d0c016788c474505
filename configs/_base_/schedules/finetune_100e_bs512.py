"""Fine-tuning on a small data set: as on ImageNet, with half the batch; not published."""

_base_ = "./finetune_100e_bs1024.py"
lr = 5e-4 * 512 / 256
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(eta_min_ratio=1e-6 / lr)
auto_scale_lr = dict(base_batch_size=512)
