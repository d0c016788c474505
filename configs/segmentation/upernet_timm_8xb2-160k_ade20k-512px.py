"""UperNet with any timm model on ADE20K at 512 px; not published.

Give the model with `--cfg-options model.backbone.model=NAME`. Images are tested in windows of 512 px, as some
models accept one size only. Chosen here: MAE's schedule (mmseg's configs/mae), layer decay 0.75, drop path
0.1.
"""

_base_ = [
    "../_base_/models/upernet.py",
    "../_base_/backbones/timm.py",
    "../_base_/datasets/ade20k_512.py",
    "../_base_/schedules/ade20k_160k_adamw.py",
    "../_base_/mmseg_runtime.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), img_size=512, drop_path_rate=0.1),
    decode_head=dict(in_channels=None),
    auxiliary_head=dict(in_channels=None),
    test_cfg=dict(_delete_=True, mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.75))
