"""Fine-tuning on iNaturalist from an ImageNet classifier, as DeiT (facebookresearch/deit issue 105)."""

_base_ = "./finetune_100e_bs1024.py"
lr = 7.5e-5
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=360, eta_min_ratio=1e-6 / lr)
train_cfg = dict(max_epochs=360)
auto_scale_lr = dict(base_batch_size=768)
