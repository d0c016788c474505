"""iNaturalist 2019: 1,010 classes; the competition's files."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=1010)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.INaturalist",
        data_root="data/iNaturalist2019",
        ann_file="train2019.json",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.INaturalist",
        data_root="data/iNaturalist2019",
        ann_file="val2019.json",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
