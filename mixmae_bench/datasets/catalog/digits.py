"""The embedded digits (see `mixmae_bench.datasets.digits`), in the layouts of mmpretrain, mmdet and mmseg."""

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.digits import CLASSES, EMBEDDED, SEG_CLASSES, DigitsConfig


def _pretraining(images: int) -> Part:
    layout = dict(type="CustomDataset", _scope_="mmpretrain", data_prefix="pretrain", with_label=False)
    return Part("pretrain", images, None, (layout,))


def _classification(split: str, images: int) -> Part:
    name = f"classification/{split}"
    layout = dict(type="CustomDataset", _scope_="mmpretrain", data_prefix=name)
    return Part(name, images, len(CLASSES), (layout,))


def _detection(split: str, images: int) -> Part:
    layout = dict(
        type="CocoDataset",
        _scope_="mmdet",
        ann_file=f"detection/annotations/instances_{split}2017.json",
        data_prefix=dict(img=f"detection/{split}2017/"),
        metainfo=dict(classes=CLASSES),
    )
    return Part(f"detection/{split}", images, len(CLASSES), (layout,))


def _segmentation(split: str, folder: str, images: int) -> Part:
    layout = dict(
        type="BaseSegDataset",
        _scope_="mmseg",
        data_prefix=dict(
            img_path=f"segmentation/images/{folder}", seg_map_path=f"segmentation/annotations/{folder}"
        ),
        img_suffix=".png",
        reduce_zero_label=True,
        metainfo=dict(classes=SEG_CLASSES),
    )
    return Part(f"segmentation/{split}", images, len(SEG_CLASSES), (layout,))


def _parts(config: DigitsConfig) -> tuple[Part, ...]:
    return (
        _pretraining(config.pretrain),
        _classification("train", config.classification_train),
        _classification("val", config.classification_val),
        _detection("train", config.detection_train),
        _detection("val", config.detection_val),
        _segmentation("train", "training", config.segmentation_train),
        _segmentation("val", "validation", config.segmentation_val),
    )


add_dataset(DatasetEntry("digits", EMBEDDED, _parts(DigitsConfig()), make_tiny=None))
