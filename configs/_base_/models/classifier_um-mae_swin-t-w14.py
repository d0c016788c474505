"""UM-MAE's Swin-T as a classifier at 224 px: with windows of 14, which divide the maps of such images."""

_base_ = "./classifier_um-mae_swin-t-w16.py"

model = dict(backbone=dict(window_size=14))
