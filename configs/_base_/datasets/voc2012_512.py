"""Pascal VOC 2012 with the training maps of SBD ("aug") at 512 px: mmseg's own data."""

_base_ = "mmseg::_base_/datasets/pascal_voc12_aug.py"

load_image = dict(type="mixmae_bench.LoadImage")
load_map = dict(type="mixmae_bench.LoadSegMap", num_classes=21)
train_pipeline = [load_image, load_map, *_base_.train_pipeline[2:]]
test_pipeline = [
    load_image,
    *(load_map if step["type"] == "LoadAnnotations" else step for step in _base_.test_pipeline[1:]),
]
parts = [dict(part, pipeline=train_pipeline) for part in _base_.train_dataloader.dataset.datasets]
train_dataloader = dict(batch_size=2, dataset=dict(datasets=parts))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
