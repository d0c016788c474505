"""Fine-tuning on 500 labelled scenes of the embedded digits; not published."""

_base_ = [
    "../_base_/datasets/digits_classification.py",
    "../_base_/schedules/digits_finetune.py",
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
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, end=4, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=4, end=40, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=40, val_interval=40)
auto_scale_lr = dict(base_batch_size=50)
