"""A linear layer on all four stages of a backbone; the backbone is frozen. Losses ignore the label 255."""

_base_ = "../mmseg_runtime.py"

custom_imports = dict(imports=["mixmae_bench.transfer.linear_segmentation"])
model = dict(
    type="mixmae_bench.FrozenSegmentor",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(out_indices=(0, 1, 2, 3)),
    decode_head=dict(
        type="mixmae_bench.LinearHead",
        in_channels=None,
        in_index=[0, 1, 2, 3],
        num_classes=150,
        ignore_index=255,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
