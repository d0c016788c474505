"""ImageNet-100 for pretraining at 224 px: 100 classes, 700 images each (tools/imagenet100_lists.py)."""

_base_ = "./imagenet_pretrain_224.py"

train_dataloader = dict(
    batch_size=256,
    dataset=dict(split="", data_prefix="train", ann_file="meta/imagenet100_train.txt"),
)
