"""MAE pretraining of HiViT-B on ImageNet-1K: mmpretrain's own code and recipe (arXiv 2205.14949).

In bfloat16 instead of float16. Published: 84.6 % top-1 after fine-tuning (zhangxiaosong18/hivit), for a
HiViT-B of 66 M parameters; mmpretrain's has 24 instead of 20 blocks with attention, and 78 M, like iTPN's.
`mixmae-bench convert` converts its checkpoints to `HiViT`.
"""

_base_ = [
    "mmpretrain::mae/mae_hivit-base-p16_8xb512-amp-coslr-1600e_in1k.py",
    "../_base_/datasets/imagenet_mae_224.py",
]

custom_imports = dict(imports=["mixmae_bench"])
train_dataloader = _base_.pop("mae_dataloader")
_base_.optim_wrapper.pop("loss_scale")  # of float16
optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper")
resume = False
