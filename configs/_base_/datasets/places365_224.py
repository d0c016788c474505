"""Places365-Standard at 256 px: 365 classes; the published archives of images and the lists."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=365)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.Places365",
        data_root="data/places365",
        data_prefix="data_256",
        ann_file="places365_train_standard.txt",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.Places365",
        data_root="data/places365",
        data_prefix="val_256",
        ann_file="places365_val.txt",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
