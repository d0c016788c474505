"""GreenMIM on MixMAE's Swin-B/W14 at 224 px, 300 epochs; not published: a row of the controlled comparison.

Mask and targets as in the official repository (LayneH/GreenMIM at a79f8b4). The decoder has MixMAE's size.
Images, optimiser and schedule are MixMAE's, as for every row of the comparison: only the method differs.
"""

_base_ = [
    "../_base_/models/greenmim_swin-b-w7.py",
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/mixmae_pretrain_300e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(_delete_=True, type="mixmae_bench.MixMAESwin", arch="base"), decoder=dict(depth=8))
