"""UM-MAE on its Swin-T, as in the official code (implus/UM-MAE at cb7776b): windows of 8 on packed maps."""

model = dict(
    type="mixmae_bench.UMMAE",
    backbone=dict(type="mixmae_bench.UMSwin", arch="tiny", window_size=8),
    decoder=dict(dim=512, depth=2, num_heads=16),
    secondary_mask_ratio=0.25,
    norm_pix_loss=True,
)
