"""MAE's ViT-B/16 as a classifier: norm, mean over patches, linear head.

MAE's code takes the mean before the norm.
"""

_base_ = ["./classifier.py", "../backbones/mae_vit-b-p16.py"]

model = dict(backbone=_base_.pop("backbone"), head=dict(in_channels=768))
