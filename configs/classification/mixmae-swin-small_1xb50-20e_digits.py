"""Fine-tuning on 1,000 labelled digits; not published. Layer decay as in MixMAE's published fine-tuning."""

_base_ = [
    "../_base_/datasets/digits_classification.py",
    "../_base_/schedules/digits_finetune_20e.py",
    "../_base_/digits_runtime.py",
]

default_scope = "mmpretrain"
model = dict(
    type="ImageClassifier",
    backbone=dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32, drop_path_rate=0.1),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=128, loss=dict(type="CrossEntropyLoss")),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=2, end=20, eta_min=0, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=50)
