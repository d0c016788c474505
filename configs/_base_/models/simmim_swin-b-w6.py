"""SimMIM on Swin-B with windows of 6 at 192 px, as in the official code (microsoft/SimMIM at d3e29bc)."""

model = dict(
    type="mixmae_bench.SimMIM",
    backbone=dict(type="mixmae_bench.Swin", arch="base", img_size=192, window_size=6),
    mask_patch_size=32,
    mask_ratio=0.6,
)
