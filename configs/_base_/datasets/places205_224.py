"""Places205: 205 classes; the published archive of images and its lists."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=205)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.Places205",
        data_root="data/places205",
        data_prefix="data/vision/torralba/deeplearning/images256",
        ann_file="trainvalsplit_places205/train_places205.csv",
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.Places205",
        data_root="data/places205",
        data_prefix="data/vision/torralba/deeplearning/images256",
        ann_file="trainvalsplit_places205/val_places205.csv",
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader
