"""UperNet with MAE ViT-B on ADE20K at 512 px: mmseg's own recipe and backbone.

Published: 48.13 mIoU (mmseg's configs/mae). The backbone loads mmpretrain's checkpoints of MAE, but not
those of `PlainViT`.
"""

_base_ = "mmseg::mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py"

custom_imports = dict(imports=["mixmae_bench"])
data_root = "data/ADEChallengeData2016"
model = dict(pretrained=None)
load_image = dict(type="mixmae_bench.LoadImage")
load_map = dict(type="mixmae_bench.LoadSegMap", num_classes=150)
train_pipeline = [load_image, load_map, *_base_.train_pipeline[2:]]
test_pipeline = [
    load_image,
    *(load_map if step["type"] == "LoadAnnotations" else step for step in _base_.test_pipeline[1:]),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(base_batch_size=16)
