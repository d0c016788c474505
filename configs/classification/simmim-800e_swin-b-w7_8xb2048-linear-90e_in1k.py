"""Linear probe of SimMIM Swin-B on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, appendix A). Not published.
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b.py",
    "../_base_/datasets/imagenet_linear_224.py",
    "../_base_/schedules/linear_90e_bs16384.py",
    "../_base_/mmpretrain_runtime.py",
]

custom_imports = dict(imports=["mixmae_bench.transfer.linear_probe"])
model = dict(
    type="mixmae_bench.LinearProbe",
    backbone=dict(drop_path_rate=0.0),
    neck=dict(_delete_=True, type="mixmae_bench.PoolBatchNorm", in_channels=1024),
    head=dict(
        loss=dict(_delete_=True, type="CrossEntropyLoss"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.01),
    ),
    train_cfg=dict(_delete_=True),
)
train_dataloader = dict(batch_size=2048)
