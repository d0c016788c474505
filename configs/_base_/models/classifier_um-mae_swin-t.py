"""UM-MAE's Swin-T with windows of 16 as a classifier: mean over tokens, norm, linear head (U8).

Mixup, CutMix, smoothing and the head's small start as in MAE's code, which the official one (implus/UM-MAE
at cb7776b) is built on.
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="mixmae_bench.UMSwin", arch="tiny", window_size=16, drop_path_rate=0.1, final_norm=False
    ),
    neck=dict(type="mixmae_bench.PoolNorm", in_channels=768),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=768,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
