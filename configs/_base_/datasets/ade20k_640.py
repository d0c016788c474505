"""ADE20K at 640 px in its own folder; mmseg's data otherwise."""

_base_ = "mmseg::_base_/datasets/ade20k_640x640.py"

data_root = "data/ADEChallengeData2016"
train_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
