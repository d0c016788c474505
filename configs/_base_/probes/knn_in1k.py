"""k nearest neighbours (k = 20) in the features of a backbone, on ImageNet-1K at 224 px, in one process.

The vote is DINO's (arXiv 2104.14294).
"""

_base_ = [
    "../datasets/imagenet_knn_224.py",
    "../schedules/knn_1e.py",
    "../mmpretrain_runtime.py",
]

custom_imports = dict(imports=["mixmae_bench.transfer.knn"])
model = dict(
    type="mixmae_bench.KNNClassifier",
    num_classes=1000,
    backbone=dict(drop_path_rate=0.0),
    neck=dict(type="GlobalAveragePooling"),
    head=None,
    train_cfg=None,
)
