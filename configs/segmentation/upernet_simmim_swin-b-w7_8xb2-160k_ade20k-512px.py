"""UperNet with SimMIM Swin-B on ADE20K at 512 px; recipe not published.

Published: 52.8 mIoU for a "SimMIM-base" (README of zhangxiaosong18/hivit at 2718339), on what and how is not
said. Chosen: MAE's schedule (mmseg's configs/mae), layer decay (0.9) and drop path (0.2) as in this
package's detection.
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
        type="mixmae_bench.Swin",
        arch="base",
        window_size=7,
        img_size=224,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024], num_classes=150),
    auxiliary_head=dict(in_channels=512, num_classes=150),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9, no_decay=["relative_position_bias_table"]))
