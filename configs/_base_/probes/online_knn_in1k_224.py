"""Nearest neighbours during a pretraining on ImageNet-1K at 224 px, against a tenth of the training images.

Every config that uses it sets `train_cfg.val_interval`, the epochs between two evaluations.
"""

test_pipeline = [
    dict(type="mixmae_bench.LoadImage"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
val_dataloader = dict(
    batch_size=128,
    num_workers=5,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mixmae_bench.ImageNet", data_root="data/imagenet", split="val", pipeline=test_pipeline
    ),
)
val_evaluator = dict(type="Accuracy", topk=(1,), prefix="knn")
val_cfg = dict(type="mixmae_bench.KNNLoop", k=20, images=128_117)
