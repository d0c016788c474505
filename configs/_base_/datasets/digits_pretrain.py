"""Embedded digits, pretraining: 4,000 unlabelled scenes of 32 px."""

data_preprocessor = dict(
    type="ClsDataPreprocessor", mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], to_rgb=True
)
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CustomDataset",
        data_root="data/digits/pretrain",
        with_label=False,
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    ),
)
