"""A short pretraining for one GPU: MixMAE's schedule with batch 256 and 100 epochs, 10 of them warm-up."""

_base_ = "./mixmae_pretrain_600e.py"

optim_wrapper = dict(optimizer=dict(lr=1.5e-4 * 256 / 256))
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=10)
param_scheduler[1].update(begin=10, end=100)
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=256)
