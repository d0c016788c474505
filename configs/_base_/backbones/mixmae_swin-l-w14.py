"""MixMAE's Swin-L/W14 at 224 px."""

backbone = dict(type="mixmae_bench.MixMAESwin", arch="large", img_size=224)
