"""MaskFeat's ViT-B fine-tuned on ImageNet-1K at 224 px.

Recipe: mmpretrain's (configs/maskfeat). Published: 83.4 % top-1. `mixmae-bench convert` converts MaskFeat's
checkpoints of mmpretrain to this backbone. Its norm follows the mean over patches, so the norm is new.
"""

_base_ = "mmpretrain::maskfeat/benchmarks/vit-base-p16_8xb256-coslr-100e_in1k.py"

custom_imports = dict(imports=["mixmae_bench"])
load_image = dict(type="mixmae_bench.LoadImage")
train_pipeline = [
    load_image,
    dict(type="mixmae_bench.RandomResizedCrop", scale=224, interpolation="bicubic"),
    *_base_.train_pipeline[2:],
]
test_pipeline = [load_image, *_base_.test_pipeline[1:]]
train_dataloader = dict(dataset=dict(type="mixmae_bench.ImageNet", pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type="mixmae_bench.ImageNet", pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.TimmBackbone",
        model="vit_base_patch16_224",
        model_args=dict(global_pool="avg"),
        pooled=True,
        drop_path_rate=0.1,
    ),
    neck=dict(_delete_=True, type="GlobalAveragePooling"),
)
optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.65, no_decay=["cls_token", "pos_embed"]),
)
# Replaced, because the base has two kinds of loop.
train_cfg = dict(_delete_=True, by_epoch=True, max_epochs=100, val_interval=10)
auto_scale_lr = dict(base_batch_size=2048)
