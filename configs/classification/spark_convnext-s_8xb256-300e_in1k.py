"""SparK's ConvNeXt-S fine-tuned on ImageNet-1K at 224 px.

Chosen here: mmpretrain's recipe for SparK's ConvNeXt V2-T (configs/spark), drop path 0.2. Published: 84.1 %
top-1, by another recipe (keyu-tian/SparK). `mixmae-bench convert` converts SparK's checkpoints of mmpretrain
to this backbone.
"""

_base_ = "mmpretrain::spark/benchmarks/convnextv2-tiny_8xb256-coslr-300e_in1k.py"

custom_imports = dict(imports=["mixmae_bench"])
load_image = dict(type="mixmae_bench.LoadImage")
train_pipeline = [
    load_image,
    dict(type="mixmae_bench.RandomResizedCrop", scale=224, interpolation="bicubic"),
    *_base_.train_pipeline[2:],
]
test_pipeline = [load_image, *_base_.test_pipeline[1:]]
train_dataloader = dict(
    batch_size=256,
    dataset=dict(type="mixmae_bench.ImageNet", pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(type="mixmae_bench.ImageNet", pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(
    backbone=dict(
        _delete_=True,
        type="mixmae_bench.TimmBackbone",
        model="convnext_small",
        pooled=True,
        drop_path_rate=0.2,
    ),
    neck=dict(type="GlobalAveragePooling"),
)
optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.7),
)
