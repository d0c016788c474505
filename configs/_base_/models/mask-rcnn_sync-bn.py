"""Mask R-CNN with synchronised batch norm, two convolutions in the RPN and four in the box head.

As in the SimMIM runs of ggjy/FastMIM.pytorch at 03a70ff and in mmdet's configs/simple_copy_paste. The heads
have torch's SyncBN instead of MMSyncBN, which does not accept images without proposals.
"""

_base_ = "./mask-rcnn.py"

norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    neck=dict(norm_cfg=norm_cfg),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(type="Shared4Conv1FCBBoxHead", conv_out_channels=256, norm_cfg=norm_cfg),
        mask_head=dict(norm_cfg=norm_cfg),
    ),
)
