"""UperNet with MixMAE Swin-B/W14 on ADE20K at 512 px; recipe not published.

Published: 50.3 mIoU (arXiv 2205.13137, as listed by Papers with Code, which does not name the segmentor).
Chosen here: MAE's schedule (mmseg's configs/mae); layer decay (0.9) and drop path (0.2) as in this package's
detection.
"""

_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/backbones/mixmae_swin-b-w14.py",
    "../_base_/datasets/ade20k_512.py",
    "../_base_/schedules/ade20k_160k_adamw.py",
    "../_base_/mmseg_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.2),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
