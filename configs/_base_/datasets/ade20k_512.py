"""ADE20K at 512 px: mmseg's own data, but in the folder of the published archive."""

_base_ = "mmseg::_base_/datasets/ade20k.py"

data_root = "data/ADEChallengeData2016"
load_image = dict(type="mixmae_bench.LoadImage")
load_map = dict(type="mixmae_bench.LoadSegMap", num_classes=150)
train_pipeline = [load_image, load_map, *_base_.train_pipeline[2:]]
# mmseg loads the map after resizing, so that only the image is resized.
test_pipeline = [
    load_image,
    *(load_map if step["type"] == "LoadAnnotations" else step for step in _base_.test_pipeline[1:]),
]
train_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
