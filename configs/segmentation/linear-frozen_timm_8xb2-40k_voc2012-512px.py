"""A linear layer on any frozen timm model on Pascal VOC 2012 (aug) at 512 px; not published.

Give the model with `--cfg-options model.backbone.model=NAME`. Recipe: chosen here, after DINOv2's linear
segmentation (arXiv 2304.07193).
"""

_base_ = [
    "../_base_/models/linear_segmentor.py",
    "../_base_/backbones/timm.py",
    "../_base_/datasets/voc2012_512.py",
    "../_base_/schedules/linear_segmentation_40k.py",
]

model = dict(
    backbone=dict(_base_.pop("backbone"), img_size=512),
    decode_head=dict(num_classes=21),
    test_cfg=dict(_delete_=True, mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
