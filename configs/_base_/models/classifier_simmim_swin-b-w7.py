"""SimMIM's Swin-B with windows of 7 as a classifier: norm, mean over tokens, linear head.

As in the official repository (microsoft/SimMIM at d3e29bc), which initialises the head with a standard
deviation of 0.02.
"""

_base_ = ["./classifier.py", "../backbones/simmim_swin-b-w7.py"]

model = dict(backbone=_base_.pop("backbone"), head=dict(in_channels=1024, init_cfg=dict(std=0.02)))
