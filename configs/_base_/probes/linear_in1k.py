"""Linear probe of a backbone on ImageNet-1K at 224 px, as MAE (arXiv 2111.06377, appendix A)."""

_base_ = [
    "../datasets/imagenet_linear_224.py",
    "../schedules/linear_90e_bs16384.py",
    "../mmpretrain_runtime.py",
]

custom_imports = dict(imports=["mixmae_bench.transfer.linear_probe"])
model = dict(
    type="mixmae_bench.LinearProbe",
    backbone=dict(drop_path_rate=0.0),
    neck=dict(type="mixmae_bench.PoolBatchNorm"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        loss=dict(type="CrossEntropyLoss"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.01),
    ),
    train_cfg=dict(),
)
