"""MixMAE on its Swin-B/W14, as in the official code (Sense-X/MixMIM at 2b2f5a9)."""

model = dict(
    type="mixmae_bench.MixMAE",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="base"),
    decoder=dict(dim=512, depth=8, num_heads=16),
    mask_ratio=0.5,
    norm_pix_loss=True,
)
