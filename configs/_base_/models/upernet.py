"""mmseg's UperNet on ADE20K at 512 px, without its Swin: for any backbone, all four stages of it."""

_base_ = "mmseg::_base_/models/upernet_swin.py"

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(_delete_=True, out_indices=(0, 1, 2, 3)),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
