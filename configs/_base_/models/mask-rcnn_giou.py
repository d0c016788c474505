"""Mask R-CNN with HiViT's box head (zhangxiaosong18/hivit at 2718339): four convolutions, GIoU loss."""

_base_ = "./mask-rcnn_sync-bn.py"

model = dict(
    roi_head=dict(
        bbox_head=dict(
            reg_decoded_bbox=True, loss_bbox=dict(_delete_=True, type="GIoULoss", loss_weight=10.0)
        ),
    ),
)
