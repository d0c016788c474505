"""HiViT-B at 224 px, the encoder of MAE on HiViT and of iTPN; maps have strides 4, 8 and 16 px."""

backbone = dict(type="mixmae_bench.HiViT", arch="base", img_size=224)
