"""Mask R-CNN with SimMIM Swin-B on COCO, 36 epochs, large-scale jittering and copy-paste.

Recipe: ggjy/FastMIM.pytorch at 03a70ff, from the ImageNet-fine-tuned checkpoint (800 epochs of pretraining),
no layer decay. Published there: 52.3 box AP, 46.4 mask AP. Batch not found: 16, as ever with mmdet.
"""

_base_ = [
    "../_base_/models/mask-rcnn_sync-bn.py",
    "../_base_/datasets/coco_lsj-1024_copy-paste.py",
    "../_base_/schedules/coco_3x_adamw.py",
    "../_base_/mmdet_runtime.py",
]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.Swin",
        arch="base",
        window_size=7,
        img_size=224,
        drop_path_rate=0.2,
        out_indices=(0, 1, 2, 3),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=6e-5), paramwise_cfg=dict(no_decay=["relative_position_bias_table"]))
train_dataloader = dict(batch_size=2)
