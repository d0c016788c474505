"""Places205: 205 classes; its lists `train_places205.csv` and `val_places205.csv`, blanks for commas."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=205)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/places205",
        data_prefix="images",
        ann_file="train.txt",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/places205",
        data_prefix="images",
        ann_file="val.txt",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
