"""Mask R-CNN with FPN on the embedded digits; not published.

mmdet's own Mask R-CNN, narrowed to 64 channels (256 in the box head), with anchors and sampling for 32-px
scenes: anchors of 16 and 32 px, few proposals, masks of 14 px. It trains in float32, because mmdet rounds
boxes to the data type of the features.
"""

_base_ = [
    "mmdet::_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/digits_detection.py",
    "../_base_/schedules/digits_finetune.py",
    "../_base_/digits_runtime.py",
]

default_scope = "mmdet"
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], pad_size_divisor=8),
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.MixMAESwin",
        arch="small",
        img_size=32,
        drop_path_rate=0.1,
        out_indices=(0, 1),
    ),
    neck=dict(in_channels=[64, 128], out_channels=64, num_outs=2),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], ratios=[0.5, 1.0, 2.0], strides=[4, 8]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, featmap_strides=[4, 8], finest_scale=16),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=10),
        mask_roi_extractor=dict(
            out_channels=64, featmap_strides=[4, 8], finest_scale=16, roi_layer=dict(output_size=7)
        ),
        mask_head=dict(in_channels=64, conv_out_channels=64, num_convs=2, num_classes=10),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=64),
        rcnn=dict(sampler=dict(num=32), mask_size=14),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=50), rcnn=dict(max_per_img=20)),
)
optim_wrapper = dict(type="OptimWrapper")
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=24)
train_cfg = dict(max_epochs=24, val_interval=24)
auto_scale_lr = dict(base_batch_size=8)
