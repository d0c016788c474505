"""k nearest neighbours (k = 20) in the features of SimMIM Swin-B/W7 on ImageNet-1K at 224 px; not published.

Chosen here: the vote of DINO (arXiv 2104.14294), in one process.
"""

_base_ = ["../_base_/probes/knn_in1k.py", "../_base_/backbones/simmim_swin-b-w7.py"]

model = dict(backbone=_base_.pop("backbone"))
