"""The digits suite's pretraining on labelled digits, with a curve of nearest neighbours, cut to seconds."""

_base_ = "./pretraining.py"

_loading = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
_folder = dict(type="CustomDataset", data_root="data/digits/classification", pipeline=_loading)
train_dataloader = dict(
    dataset=dict(_delete_=True, **_folder, data_prefix="train", indices=list(range(0, 500, 10)))
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**_folder, data_prefix="val", indices=list(range(0, 800, 20))),
)
val_evaluator = dict(type="Accuracy", topk=(1,), prefix="knn")
val_cfg = dict(type="mixmae_bench.KNNLoop", k=5)
train_cfg = dict(val_interval=1)
