"""UperNet on the embedded digits; not published.

mmseg's own UperNet, narrowed to 64 channels, with plain batch norm (one process) and the auxiliary head on
the last stage.
"""

_base_ = [
    "mmseg::_base_/models/upernet_r50.py",
    "../_base_/datasets/digits_segmentation.py",
    "../_base_/schedules/digits_finetune.py",
    "../_base_/digits_runtime.py",
]

default_scope = "mmseg"
norm_cfg = dict(type="BN", requires_grad=True)
# Four of five pixels are background: without these weights the digits are hardly learnt.
class_weight = [0.2, *[1.0] * 10]
model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], size=(32, 32)),
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.MixMAESwin",
        arch="small",
        img_size=32,
        drop_path_rate=0.1,
        out_indices=(0, 1),
    ),
    decode_head=dict(
        in_channels=[64, 128],
        in_index=[0, 1],
        channels=64,
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight),
    ),
    auxiliary_head=dict(
        in_channels=128,
        in_index=1,
        channels=64,
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight),
    ),
)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=12)
train_cfg = dict(max_epochs=12, val_interval=12)
auto_scale_lr = dict(base_batch_size=32)
