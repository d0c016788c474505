"""UperNet with UM-MAE Swin-T on ADE20K at 512 px, tested by sliding windows.

Recipe: the official repository (implus/UM-MAE at cb7776b), from the ImageNet-fine-tuned checkpoint, no layer
decay. Published: 45.96 mIoU (arXiv 2205.10063).
"""

_base_ = [
    "mmseg::_base_/models/upernet_swin.py",
    "../_base_/datasets/ade20k_512.py",
    "../_base_/schedules/ade20k_160k_adamw.py",
    "../_base_/mmseg_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.UMSwin",
        arch="tiny",
        window_size=16,
        drop_path_rate=0.1,
        out_indices=(0, 1, 2, 3),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
