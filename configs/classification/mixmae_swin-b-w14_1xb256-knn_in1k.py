"""k nearest neighbours (k = 20) in the features of MixMAE Swin-B/W14 on ImageNet-1K at 224 px; not published.

Chosen here: the vote of DINO (arXiv 2104.14294), in one process.
"""

_base_ = ["../_base_/probes/knn_in1k.py", "../_base_/backbones/mixmae_swin-b-w14.py"]

model = dict(backbone=_base_.pop("backbone"))
