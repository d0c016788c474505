"""MAE's ViT-B/16 at 224 px."""

backbone = dict(type="mixmae_bench.PlainViT", arch="base", img_size=224)
