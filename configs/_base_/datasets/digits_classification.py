"""Embedded digits, classification: 500 labelled and 800 validation scenes of 32 px, ImageFolder layout."""

data_preprocessor = dict(num_classes=10, mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], to_rgb=True)
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CustomDataset",
        data_root="data/digits/classification",
        data_prefix="train",
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="RandomCrop", crop_size=32, padding=3, padding_mode="reflect"),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=200,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CustomDataset",
        data_root="data/digits/classification",
        data_prefix="val",
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    ),
)
val_evaluator = dict(type="Accuracy", topk=(1,))
test_dataloader = val_dataloader
test_evaluator = val_evaluator
