"""MixMAE's Swin-T/W14 fine-tuned on 10 % of ImageNet-100's labels, 100 epochs.

Chosen here, not published: a row of the suite one-gpu-day.
"""

_base_ = "./mixmae_swin-t-w14_1xb256-50e_in100.py"

train_dataloader = dict(dataset=dict(ann_file="meta/imagenet100_10percent.txt"))
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=100)
train_cfg = dict(max_epochs=100, val_interval=100)
