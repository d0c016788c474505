"""Fine-tuning on 1,000 labelled digits; not published, chosen so that both starts converge."""

_base_ = ["../_base_/datasets/digits_classification.py", "../_base_/digits_runtime.py"]

default_scope = "mmpretrain"
model = dict(
    type="ImageClassifier",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32, drop_path_rate=0.1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=128, loss=dict(type="CrossEntropyLoss")),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=2, end=20, eta_min=1e-6, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=20, val_interval=20)
val_cfg = dict()
test_cfg = dict()
