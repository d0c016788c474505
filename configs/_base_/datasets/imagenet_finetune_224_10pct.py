"""10 % of ImageNet-1K's labels: SimCLR's list of images, in `meta/10percent.txt`."""

_base_ = "./imagenet_finetune_224.py"

train_dataloader = dict(
    batch_size=64,
    dataset=dict(split="", data_prefix="train", ann_file="meta/10percent.txt"),
)
