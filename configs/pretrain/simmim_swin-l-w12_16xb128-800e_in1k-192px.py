"""SimMIM pretraining of Swin-L on ImageNet-1K, 800 epochs.

Recipe: the official repository (microsoft/SimMIM at d3e29bc). Published: 85.4 % top-1 after fine-tuning at
224 px (the repository's README).
"""

_base_ = [
    "../_base_/datasets/imagenet_pretrain_192.py",
    "../_base_/schedules/simmim_pretrain_800e.py",
    "../_base_/mmpretrain_runtime.py",
]

model = dict(
    type="mixmae_bench.SimMIM",
    backbone=dict(type="mixmae_bench.Swin", arch="large", img_size=192, window_size=12),
    cell=32,
    mask_ratio=0.6,
)
train_dataloader = dict(batch_size=128)
