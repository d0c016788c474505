"""iNaturalist 2019: 1,010 classes; the competition's files."""

_base_ = "./inat2018_224.py"

data_preprocessor = dict(num_classes=1010)
train_dataloader = dict(dataset=dict(data_root="data/iNaturalist2019", ann_file="train2019.json"))
val_dataloader = dict(dataset=dict(data_root="data/iNaturalist2019", ann_file="val2019.json"))
test_dataloader = val_dataloader
