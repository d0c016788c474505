"""iNaturalist 2018: 8,142 classes; the competition's files."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=8142)
train_dataloader = dict(
    batch_size=96,
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.INaturalist",
        data_root="data/iNaturalist2018",
        ann_file="train2018.json",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.INaturalist",
        data_root="data/iNaturalist2018",
        ann_file="val2018.json",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
