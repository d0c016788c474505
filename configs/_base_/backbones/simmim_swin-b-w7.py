"""SimMIM's Swin-B with windows of 7, at 224 px."""

backbone = dict(type="mixmae_bench.Swin", arch="base", window_size=7, img_size=224)
