"""UM-MAE's Swin-T with windows of 16 as a classifier: mean over tokens, norm, linear head (U8).

As in the official repository (implus/UM-MAE at cb7776b), which is built on MAE's code.
"""

_base_ = ["./classifier.py", "../backbones/um-mae_swin-t-w16.py"]

model = dict(
    backbone=dict(_base_.pop("backbone"), final_norm=False),
    neck=dict(_delete_=True, type="mixmae_bench.PoolNorm", in_channels=768),
    head=dict(in_channels=768),
)
