"""SimMIM on MixMAE's Swin-B/W14 at 224 px, 300 epochs; not published: a row of the controlled comparison.

Mask and loss as in the official repository (microsoft/SimMIM at d3e29bc). Images, optimiser and schedule are
MixMAE's, as for every row of the comparison: only the method differs.
"""

_base_ = [
    "../_base_/models/simmim_swin-b-w6.py",
    "../_base_/datasets/imagenet_pretrain_224.py",
    "../_base_/schedules/mixmae_pretrain_300e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(backbone=dict(_delete_=True, type="mixmae_bench.MixMAESwin", arch="base"))
