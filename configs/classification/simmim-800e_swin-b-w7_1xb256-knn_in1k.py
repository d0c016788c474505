"""k nearest neighbours (k = 20) in the features of SimMIM Swin-B/W7 on ImageNet-1K at 224 px; not published.

Chosen: the vote of DINO (arXiv 2104.14294). In one process.
"""

_base_ = [
    "../_base_/models/classifier_simmim_swin-b.py",
    "../_base_/datasets/imagenet_knn_224.py",
    "../_base_/schedules/knn_1e.py",
    "../_base_/mmpretrain_runtime.py",
]

custom_imports = dict(imports=["mixmae_bench.transfer.knn"])
model = dict(
    type="mixmae_bench.KNNClassifier",
    num_classes=1000,
    backbone=dict(drop_path_rate=0.0),
    head=None,
    train_cfg=None,
)
