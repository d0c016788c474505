"""COCO's 3x schedule with AdamW, batch 16: 36 epochs, steps at 27 and 33, as for Swin (arXiv 2103.14030)."""

_base_ = "./coco_1x_adamw.py"

param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=36, milestones=[27, 33])
train_cfg = dict(max_epochs=36)
