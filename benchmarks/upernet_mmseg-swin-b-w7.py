"""UperNet with mmseg's Swin-B and windows of 7: the baseline for the speed of segmentation."""

_base_ = "../configs/segmentation/upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmseg.SwinTransformer",
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=7,
        drop_path_rate=0.2,
    )
)
