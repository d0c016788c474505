"""MixMAE's Swin-B/W14 as a classifier: norm, mean over tokens, linear head.

Mixup, CutMix, smoothing and the head's small start as in the official repository (Sense-X/MixMIM at
2b2f5a9).
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="base", img_size=224, drop_path_rate=0.1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=1024,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
