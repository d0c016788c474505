"""UM-MAE PVT-S fine-tuned on ImageNet-1K at 256 px.

Published: 79.31 % top-1 (README of implus/UM-MAE at cb7776b), without the recipe. Chosen here: Swin-T's
recipe. The position table, which is learnt in fine-tuning, is not decayed.
"""

_base_ = "./um-mae_swin-t_8xb128-100e_in1k-256px.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.UMPVT",
        arch="small",
        drop_path_rate=0.1,
        learn_positions=True,
        final_norm=False,
    ),
    neck=dict(in_channels=512),
    head=dict(in_channels=512),
)
optim_wrapper = dict(paramwise_cfg=dict(no_decay=["pos_embed"]))
