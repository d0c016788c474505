"""Linear probe of UM-MAE Swin-T on ImageNet-1K at 224 px.

Recipe: MAE's (arXiv 2111.06377, appendix A). Not published. Windows of 14, which divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/imagenet_linear_224.py",
    "../_base_/schedules/linear_90e_bs16384.py",
    "../_base_/mmpretrain_runtime.py",
]

custom_imports = dict(imports=["mixmae_bench.transfer.linear_probe"])
model = dict(
    type="mixmae_bench.LinearProbe",
    backbone=dict(drop_path_rate=0.0, final_norm=True, window_size=14),
    neck=dict(_delete_=True, type="mixmae_bench.PoolBatchNorm", in_channels=768),
    head=dict(
        loss=dict(_delete_=True, type="CrossEntropyLoss"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.01),
    ),
    train_cfg=dict(_delete_=True),
)
train_dataloader = dict(batch_size=2048)
