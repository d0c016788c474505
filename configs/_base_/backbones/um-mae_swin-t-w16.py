"""UM-MAE's Swin-T with windows of 16, which divide the maps at 256 px."""

backbone = dict(type="mixmae_bench.UMSwin", arch="tiny", window_size=16)
