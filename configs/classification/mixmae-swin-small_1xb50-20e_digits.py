"""Fine-tuning on 1,000 labelled digits; not published. Layer decay as in MixMAE's published fine-tuning."""

_base_ = ["../_base_/datasets/digits_classification.py", "../_base_/digits_runtime.py"]

default_scope = "mmpretrain"
model = dict(
    type="ImageClassifier",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32, drop_path_rate=0.1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=128, loss=dict(type="CrossEntropyLoss")),
)
optim_wrapper = dict(
    type="mixmae_bench.Bf16OptimWrapper",
    optimizer=dict(type="AdamW", lr=4e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
    paramwise_cfg=dict(layer_decay_rate=0.7),
)
auto_scale_lr = dict(base_batch_size=50)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=2, end=20, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=20)
val_cfg = dict()
test_cfg = dict()
