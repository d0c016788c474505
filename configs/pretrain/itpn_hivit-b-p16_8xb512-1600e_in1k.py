"""iTPN pretraining of HiViT-B on ImageNet-1K, with pixels as targets (arXiv 2211.12735).

mmpretrain's own code and recipe, in bfloat16 instead of float16. Published: 85.5 % top-1 after fine-tuning
(sunsmarterjie/iTPN). `mixmae-bench convert` converts its checkpoints to `HiViT`, without the pyramid of its
decoder.
"""

_base_ = [
    "mmpretrain::itpn/itpn-pixel_hivit-base-p16_8xb512-amp-coslr-1600e_in1k.py",
    "../_base_/datasets/imagenet_mae_224.py",
]

custom_imports = dict(imports=["mixmae_bench"])
train_dataloader = _base_.pop("mae_dataloader")
_base_.optim_wrapper.pop("loss_scale")  # of float16
optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper")
resume = False
