"""k nearest neighbours (k = 20) in the features of UM-MAE Swin-T on ImageNet-1K at 224 px; not published.

Chosen here: the vote of DINO (arXiv 2104.14294), in one process. The windows are 14 wide and divide the maps
at 224 px.
"""

_base_ = ["../_base_/probes/knn_in1k.py", "../_base_/backbones/um-mae_swin-t-w16.py"]

model = dict(backbone=dict(_base_.pop("backbone"), window_size=14, final_norm=True))
