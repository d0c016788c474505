"""k nearest neighbours (k = 20) in the features of UM-MAE Swin-T on ImageNet-1K at 224 px; not published.

Chosen: the vote of DINO (arXiv 2104.14294). In one process. Windows of 14, which divide the maps at 224 px.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/imagenet_knn_224.py",
    "../_base_/schedules/knn_1e.py",
    "../_base_/mmpretrain_runtime.py",
]

custom_imports = dict(imports=["mixmae_bench.transfer.knn"])
model = dict(
    type="mixmae_bench.KNNClassifier",
    num_classes=1000,
    backbone=dict(drop_path_rate=0.0, final_norm=True, window_size=14),
    neck=dict(_delete_=True, type="GlobalAveragePooling"),
    head=None,
    train_cfg=None,
)
