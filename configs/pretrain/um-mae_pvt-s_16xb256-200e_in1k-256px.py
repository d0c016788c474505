"""UM-MAE pretraining of PVT-S on ImageNet-1K, 200 epochs.

Recipe: the official repository (implus/UM-MAE at cb7776b). Published: 79.31 % top-1 after fine-tuning at 256
px (the repository's README).
"""

_base_ = "./um-mae_swin-t_16xb256-200e_in1k-256px.py"

model = dict(backbone=dict(_delete_=True, type="mixmae_bench.UMPVT", arch="small"))
