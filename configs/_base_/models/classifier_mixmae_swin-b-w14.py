"""MixMAE's Swin-B/W14 as a classifier: norm, mean over tokens, linear head.

As in the official repository (Sense-X/MixMIM at 2b2f5a9).
"""

_base_ = ["./classifier.py", "../backbones/mixmae_swin-b-w14.py"]

model = dict(backbone=_base_.pop("backbone"), head=dict(in_channels=1024))
