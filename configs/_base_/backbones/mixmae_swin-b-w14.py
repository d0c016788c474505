"""MixMAE's Swin-B/W14 at 224 px."""

backbone = dict(type="mixmae_bench.MixMAESwin", arch="base", img_size=224)
