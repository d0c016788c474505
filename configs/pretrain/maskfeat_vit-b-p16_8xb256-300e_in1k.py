"""MaskFeat pretraining of ViT-B on ImageNet-1K: mmpretrain's own code and recipe (arXiv 2112.09133).

In bfloat16 instead of float16, with targets in float32. Published: 83.4 % top-1 after fine-tuning
(mmpretrain's configs/maskfeat). `mixmae-bench convert` converts its checkpoints to timm's
`vit_base_patch16_224`.
"""

_base_ = "mmpretrain::maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py"

custom_imports = dict(imports=["mixmae_bench"])
train_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(
        type="mixmae_bench.RandomResizedCrop",
        scale=224,
        crop_ratio_range=(0.5, 1.0),
        interpolation="bicubic",
    ),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    # Replaced, because mmengine would pass the `_scope_` of mmpretrain's dict to the function.
    collate_fn=dict(_delete_=True, type="default_collate"),
    # The base names a list of images; class folders need none.
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.ImageNet",
        data_root=_base_.data_root,
        split="train",
        pipeline=train_pipeline,
    ),
)
model = dict(target_generator=dict(type="mixmae_bench.HOGTargets"))
_base_.optim_wrapper.pop("loss_scale")  # of float16
optim_wrapper = dict(type="mixmae_bench.Bf16OptimWrapper")
