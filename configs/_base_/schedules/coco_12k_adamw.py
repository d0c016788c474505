"""A short schedule on COCO for one GPU: 12,000 iterations of 16 images, 1.6 epochs."""

_base_ = "./coco_1x_adamw.py"

param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, end=500),
    dict(type="MultiStepLR", by_epoch=False, end=12_000, milestones=[8_000, 11_000], gamma=0.1),
]
train_cfg = dict(_delete_=True, type="IterBasedTrainLoop", max_iters=12_000, val_interval=12_000)
