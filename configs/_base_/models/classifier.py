"""Image classifier of the fine-tuning recipes: mean over tokens, linear head, Mixup, CutMix, label smoothing.

The head is initialised with a standard deviation of 2e-5, as in MAE's code.
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(drop_path_rate=0.1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
