"""COCO 2017 with large-scale jittering and copy-paste (arXiv 2012.07177): objects of another image on top."""

_base_ = "./coco_lsj-1024.py"

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="MultiImageMixDataset",
        dataset={**_base_.train_dataloader.dataset, "pipeline": _base_.jitter},
        pipeline=[dict(type="CopyPaste", max_num_pasted=100), dict(type="PackDetInputs")],
    ),
)
