"""Places365-Standard at 256 px: 365 classes; folders of classes for training and validation."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=365)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/places365",
        data_prefix="train",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/places365",
        data_prefix="val",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
