"""1 % of ImageNet-1K's labels: SimCLR's list of images, in `meta/1percent.txt`."""

_base_ = "./imagenet_finetune_224.py"

train_dataloader = dict(
    batch_size=64,
    dataset=dict(split="", data_prefix="train", ann_file="meta/1percent.txt"),
)
