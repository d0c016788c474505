"""UM-MAE PVT-S fine-tuned on ImageNet-1K at 256 px.

Published: 79.31 % top-1 (README of implus/UM-MAE at cb7776b). Chosen: the recipe, as for Swin-T; the
position table, which is learnt now, is not decayed.
"""

_base_ = [
    "../_base_/models/classifier_um-mae_swin-t.py",
    "../_base_/datasets/imagenet_finetune_256.py",
    "../_base_/schedules/finetune_100e_bs1024.py",
    "../_base_/mmpretrain_runtime.py",
]

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
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.85, no_decay=["pos_embed"]))
train_dataloader = dict(batch_size=128)
