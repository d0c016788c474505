"""What the published data sets hold: how many images and classes, and how each part is read.

Counts are those of the data sets' own sites and papers. iNaturalist 2019: its competition page gives 268,243
images in all, with 3,030 for validation; the 265,240 for training of some papers do not fit that.
"""

from dataclasses import dataclass

from mixmae_bench.datasets.digits import CLASSES, SEG_CLASSES, DigitsConfig

PLACES205_IMAGES = "data/vision/torralba/deeplearning/images256"


@dataclass(frozen=True)
class Part:
    """A training or validation set.

    Attributes:
        name: Such as 'train'.
        images: How many images it has.
        classes: How many classes it has, or None without labels.
        layouts: Configs of the data set that reads it, without data_root; the first that is there counts.
    """

    name: str
    images: int
    classes: int | None
    layouts: tuple[dict, ...]


def _imagenet(split: str, images: int) -> Part:
    return Part(split, images, 1000, (dict(type="mixmae_bench.ImageNet", split=split),))


def _inaturalist(year: int, split: str, images: int, classes: int) -> Part:
    layout = dict(type="mixmae_bench.INaturalist", ann_file=f"{split}{year}.json", data_prefix="")
    return Part(split, images, classes, (layout,))


def _places205(split: str, images: int) -> Part:
    lists = (f"trainvalsplit_places205/{split}_places205.csv", f"{split}_places205.csv")
    layouts = tuple(
        dict(type="mixmae_bench.Places205", ann_file=file, data_prefix=PLACES205_IMAGES) for file in lists
    )
    return Part(split, images, 205, layouts)


def _places365(split: str, images: int, file: str, folders: tuple[str, ...]) -> Part:
    layouts = [dict(type="mixmae_bench.Places365", ann_file=file, data_prefix=folder) for folder in folders]
    layouts.append(dict(type="mixmae_bench.Places365", data_prefix=split))  # one folder per class
    return Part(split, images, 365, tuple(layouts))


def _cifar100(split: str, images: int) -> Part:
    return Part(split, images, 100, (dict(type="mixmae_bench.CIFAR100", split=split),))


def _coco(split: str, images: int, folder: str = "", **metainfo: tuple[str, ...]) -> Part:
    layout = dict(
        type="CocoDataset",
        _scope_="mmdet",
        ann_file=f"{folder}annotations/instances_{split}2017.json",
        data_prefix=dict(img=f"{folder}{split}2017/"),
        metainfo=metainfo or None,
    )
    return Part(f"{folder}{split}", images, len(metainfo["classes"]) if metainfo else 80, (layout,))


def _ade20k(split: str, images: int) -> Part:
    prefix = dict(img_path=f"images/{split}", seg_map_path=f"annotations/{split}")
    return Part(split, images, 150, (dict(type="ADE20KDataset", _scope_="mmseg", data_prefix=prefix),))


def _digits(config: DigitsConfig) -> tuple[Part, ...]:
    pretrain = dict(type="CustomDataset", _scope_="mmpretrain", data_prefix="pretrain", with_label=False)
    parts = [Part("pretrain", config.pretrain, None, (pretrain,))]
    for split in ("train", "val"):
        folder = f"classification/{split}"
        layout = dict(type="CustomDataset", _scope_="mmpretrain", data_prefix=folder)
        parts.append(Part(folder, getattr(config, f"classification_{split}"), 10, (layout,)))
        count = getattr(config, f"detection_{split}")
        parts.append(_coco(split, count, "detection/", classes=CLASSES))
        folder = "training" if split == "train" else "validation"
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
        count = getattr(config, f"segmentation_{split}")
        parts.append(Part(f"segmentation/{split}", count, len(SEG_CLASSES), (layout,)))
    return tuple(parts)


OFFICIAL: dict[str, tuple[Part, ...]] = {
    "imagenet": (_imagenet("train", 1_281_167), _imagenet("val", 50_000)),
    "inat2018": (_inaturalist(2018, "train", 437_513, 8142), _inaturalist(2018, "val", 24_426, 8142)),
    "inat2019": (_inaturalist(2019, "train", 265_213, 1010), _inaturalist(2019, "val", 3_030, 1010)),
    "places205": (_places205("train", 2_448_873), _places205("val", 20_500)),
    "places365": (
        _places365("train", 1_803_460, "places365_train_standard.txt", ("data_256", "data_large")),
        _places365("val", 36_500, "places365_val.txt", ("val_256", "val_large")),
    ),
    "cifar100": (_cifar100("train", 50_000), _cifar100("test", 10_000)),
    "coco": (_coco("train", 118_287), _coco("val", 5_000)),
    "ade20k": (_ade20k("training", 20_210), _ade20k("validation", 2_000)),
    "digits": _digits(DigitsConfig()),
}
