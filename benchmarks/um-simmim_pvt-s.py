"""The SimMIM of UM-MAE's repository on its PVT-S: the baseline for the speed of UM-MAE."""

_base_ = "../configs/pretrain/um-simmim_swin-t_16xb256-200e_in1k-256px.py"

model = dict(backbone=dict(_delete_=True, type="mixmae_bench.UMPVT", arch="small"))
