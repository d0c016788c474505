"""HTC with MixMAE Swin-L/W14 on COCO, 3x schedule, multi-scale; not published.

Chosen here: the recipe for UM-MAE's Swin-L, with a drop path of 0.3 and HiViT's layer decay (0.9;
zhangxiaosong18/hivit at 2718339).
"""

_base_ = ["./htc_um-mae_swin-l_16xb1-ms-3x_coco.py", "../_base_/backbones/mixmae_swin-l-w14.py"]

model = dict(
    backbone=dict(_base_.pop("backbone"), _delete_=True, drop_path_rate=0.3, out_indices=(0, 1, 2, 3)),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.9))
