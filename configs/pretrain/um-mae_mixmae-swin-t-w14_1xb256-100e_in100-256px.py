"""UM-MAE on MixMAE's Swin-T/W14 at 256 px, ImageNet-100, 100 epochs.

Chosen here, not published: a row of the suite one-gpu-day.
Mask and targets as in the official repository (implus/UM-MAE at cb7776b), with MixMAE's decoder and correct
positions (U1). Images have 256 px, as packing halves their edges and 32-px strides do not divide 112 px.
"""

_base_ = [
    "../_base_/models/um-mae_swin-t-w8.py",
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/pretrain_100e_bs256.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, type="mixmae_bench.MixMAESwin", arch="tiny", img_size=256),
    decoder=dict(depth=8),
    official_positions=False,
)
train_dataloader = dict(
    batch_size=256,
    dataset=dict(split="", data_prefix="train", ann_file="meta/imagenet100_train.txt"),
)
