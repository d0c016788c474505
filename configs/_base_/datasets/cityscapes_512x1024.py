"""Cityscapes in crops of 512x1024 px: mmseg's own data. Images are tested whole."""

_base_ = "mmseg::_base_/datasets/cityscapes.py"

data_root = "data/cityscapes"
load_image = dict(type="mixmae_bench.LoadImage")
load_map = dict(type="mixmae_bench.LoadSegMap", num_classes=19)
train_pipeline = [load_image, load_map, *_base_.train_pipeline[2:]]
test_pipeline = [
    load_image,
    *(load_map if step["type"] == "LoadAnnotations" else step for step in _base_.test_pipeline[1:]),
]
train_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
