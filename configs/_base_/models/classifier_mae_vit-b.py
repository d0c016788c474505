"""MAE's ViT-B as a classifier: norm, mean over patches, linear head.

Mixup, CutMix, smoothing and the head's small start as in MAE's code, which takes the mean before the norm.
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="mixmae_bench.PlainViT", arch="base", img_size=224, drop_path_rate=0.1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=768,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
