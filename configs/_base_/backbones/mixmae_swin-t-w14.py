"""MixMAE's encoder in the size of Swin-T, at 224 px; not published."""

backbone = dict(type="mixmae_bench.MixMAESwin", arch="tiny", img_size=224)
