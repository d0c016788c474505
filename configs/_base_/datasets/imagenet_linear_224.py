"""ImageNet-1K for linear probes at 224 px, as MAE (arXiv 2111.06377, appendix A): only crops and flips."""

_base_ = "./imagenet_finetune_224.py"

train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="mixmae_bench.RandomResizedCrop", scale=224, interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
train_dataloader = dict(batch_size=2048, dataset=dict(pipeline=train_pipeline))
