"""Mask R-CNN with mmdet's Swin-B and windows of 7: the baseline for the speed of dense forward passes."""

_base_ = "../configs/detection/mask-rcnn_mixmae_swin-b-w14_8xb2-1x_coco.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=7,
        drop_path_rate=0.3,
        convert_weights=False,
    )
)
