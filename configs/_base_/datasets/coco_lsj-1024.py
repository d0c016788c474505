"""COCO 2017 with masks and large-scale jittering (arXiv 2012.07177): 0.1 to 2.0 times 1024 px, cropped."""

_base_ = "./coco.py"

jitter = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute_range",
        crop_size=(1024, 1024),
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="Pad", size=(1024, 1024)),
]
train_dataloader = dict(
    num_workers=4,
    batch_sampler=None,  # crops are square, whatever the images are
    dataset=dict(pipeline=[*jitter, dict(type="PackDetInputs")]),
)
