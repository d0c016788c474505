"""SparK pretraining of ResNet-50 on ImageNet-1K: mmpretrain's own code and recipe (arXiv 2301.03580).

In bfloat16 instead of float16. Published: 80.1 % top-1 after fine-tuning (mmpretrain's configs/spark). The
convolutions compute masked pixels too, and then set them to zero. `mixmae-bench convert` converts its
checkpoints to timm's `resnet50`.
"""

_base_ = [
    "mmpretrain::spark/spark_sparse-resnet50_8xb512-amp-coslr-800e_in1k.py",
    "../_base_/datasets/imagenet_mae_224.py",
]

custom_imports = dict(imports=["mixmae_bench"])
train_dataloader = _base_.pop("mae_dataloader")
optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper")
auto_scale_lr = dict(base_batch_size=4096)
