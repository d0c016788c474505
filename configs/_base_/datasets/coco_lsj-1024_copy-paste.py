"""COCO 2017 with large-scale jittering and copy-paste of objects from other images (arXiv 2012.07177)."""

_base_ = "./coco_lsj-1024.py"

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="MultiImageMixDataset",
        dataset={**_base_.train_dataloader.dataset, "pipeline": _base_.jitter},
        pipeline=[dict(type="CopyPaste", max_num_pasted=100), dict(type="PackDetInputs")],
    ),
)
