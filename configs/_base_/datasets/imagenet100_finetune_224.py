"""ImageNet-100 for fine-tuning at 224 px: 100 classes, 700 training and 50 validation images each."""

_base_ = "./imagenet_finetune_224.py"

train_dataloader = dict(
    batch_size=256,
    dataset=dict(split="", data_prefix="train", ann_file="meta/imagenet100_train.txt"),
)
val_dataloader = dict(dataset=dict(split="", data_prefix="val", ann_file="meta/imagenet100_val.txt"))
test_dataloader = val_dataloader
