"""iNaturalist 2019: 1,010 classes; a text list (path, class) of each half beside its images."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=1010)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/iNaturalist2019",
        data_prefix="",
        ann_file="train.txt",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root="data/iNaturalist2019",
        data_prefix="",
        ann_file="val.txt",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
