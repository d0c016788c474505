"""CIFAR-100, enlarged to 224 px: 100 classes. The data set yields decoded RGB images."""

_base_ = "./imagenet_finetune_224.py"

data_preprocessor = dict(num_classes=100, to_rgb=False)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.CIFAR100",
        data_root="data/cifar100",
        split="train",
        pipeline=_base_.train_pipeline[1:],
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mixmae_bench.CIFAR100",
        data_root="data/cifar100",
        split="test",
        pipeline=_base_.test_pipeline[1:],
    ),
)
test_dataloader = val_dataloader
