"""UM-MAE on MixMAE's Swin-B/W14 at 256 px, 300 epochs; not published: a row of the controlled comparison.

Mask and targets as in the official repository (implus/UM-MAE at cb7776b), with every cell's own position in
the decoder (U1 corrected), which has MixMAE's budget. Images, optimiser and schedule are MixMAE's, as for
every row of the comparison, but for their size: half of 224 px is not whole in strides of 32 px.
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_256.py",
    "../_base_/schedules/mixmae_pretrain_300e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.UMMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="base", img_size=256),
    decoder=dict(dim=512, depth=8, num_heads=16),
    secondary_ratio=0.25,
    norm_pix=True,
    official_positions=False,
)
train_dataloader = dict(batch_size=128)
