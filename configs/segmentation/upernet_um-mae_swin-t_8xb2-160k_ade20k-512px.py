"""UperNet with UM-MAE Swin-T on ADE20K at 512 px, tested with sliding windows.

Recipe: the official repository (implus/UM-MAE at cb7776b), from the checkpoint fine-tuned on ImageNet,
without layer decay. Published: 45.96 mIoU (arXiv 2205.10063).
"""

_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/backbones/um-mae_swin-t-w16.py",
    "../_base_/datasets/ade20k_512.py",
    "../_base_/schedules/ade20k_160k_adamw.py",
    "../_base_/mmseg_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), drop_path_rate=0.1),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
