"""COCO 2017 with masks, the short edge between 480 and 800 px: the multi-scale training of 3x schedules."""

_base_ = "./coco.py"

train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomChoiceResize", scales=[(side, 1333) for side in range(480, 801, 32)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(num_workers=4, dataset=dict(pipeline=train_pipeline))
