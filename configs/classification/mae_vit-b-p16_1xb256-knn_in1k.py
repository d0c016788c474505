"""k nearest neighbours (k = 20) in the features of MAE ViT-B on ImageNet-1K at 224 px; not published.

Chosen here: the vote of DINO (arXiv 2104.14294), in one process.
"""

_base_ = ["../_base_/probes/knn_in1k.py", "../_base_/backbones/mae_vit-b-p16.py"]

model = dict(backbone=_base_.pop("backbone"))
