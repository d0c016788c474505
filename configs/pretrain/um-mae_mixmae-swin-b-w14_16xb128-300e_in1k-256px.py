"""UM-MAE on MixMAE's Swin-B/W14 at 256 px, 300 epochs; not published: a row of the controlled comparison.

Mask and targets as in the official repository (implus/UM-MAE at cb7776b). The decoder has MixMAE's size, and
each mask patch has its own position in it (U1 corrected). Optimiser and schedule are MixMAE's, as for every
row of the comparison. So are the images, except for their size: packing halves the edges of an image, and
32-px strides do not divide 112 px.
"""

_base_ = [
    "../_base_/models/um-mae_swin-t-w8.py",
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/mixmae_pretrain_300e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, type="mixmae_bench.MixMAESwin", arch="base", img_size=256),
    decoder=dict(depth=8),
    official_positions=False,
)
train_dataloader = dict(batch_size=128)
