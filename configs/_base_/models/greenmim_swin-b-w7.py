"""GreenMIM on Swin-B/W7 at 224 px, as in LayneH/GreenMIM at a79f8b4 (modeling/model_factory.py)."""

model = dict(
    type="mixmae_bench.GreenMIM",
    backbone=dict(type="mixmae_bench.Swin", arch="base", window_size=7, norm_eps=1e-6),
    decoder=dict(dim=512, depth=1, num_heads=16),
    mask_ratio=0.75,
    norm_pix_loss=True,
)
