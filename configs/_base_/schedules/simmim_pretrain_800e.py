"""SimMIM's pretraining schedule of 800 epochs (microsoft/SimMIM at d3e29bc): batch 2048, a step at 700."""

_base_ = "./simmim_pretrain_100e.py"

optim_wrapper = dict(optimizer=dict(lr=1e-4 * 2048 / 512))
param_scheduler = [
    dict(type="LinearLR", start_factor=5e-7 / 1e-4, by_epoch=True, end=10, convert_to_iter_based=True),
    dict(type="MultiStepLR", by_epoch=True, end=800, milestones=[700], convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=800)
