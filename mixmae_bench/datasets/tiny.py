"""Very small data sets in the layouts that are published: random images, a few per set, valid lists.

Numbers of classes are the published ones wherever a list names them, so paper-scale configs run on them.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mixmae_bench.compat.openmmlab import quiet

IMAGENET_CLASSES = {"n01440764": 0, "n02099601": 207, "n15075141": 999}
"""Three of the thousand folders, and their labels."""

COCO_IDS = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
"""COCO's 80 category ids, of 1 to 90."""

PER_CLASS = 2  # images
SIZE = (56, 48)  # height and width, px


def make_tiny(name: str, root: Path) -> None:
    """Write the data set `name` (one of `MAKERS`) into the folder `root`; the same bytes every time."""
    MAKERS[name](Path(root), np.random.default_rng(0))


def _imagenet(root: Path, rng: np.random.Generator) -> None:
    """`train` and `val` in class folders, lists of 1 % and 10 % of the labels in `meta`."""
    names = []
    for wordnet in IMAGENET_CLASSES:
        for number in range(PER_CLASS):
            names.append(f"{wordnet}_{number + 1}.JPEG")
            _save(root / "train" / wordnet / names[-1], _noise(rng))
            _save(root / "val" / wordnet / f"ILSVRC2012_val_{len(names):08d}.JPEG", _noise(rng))
    (root / "meta").mkdir()
    for percent, share in (("1", names[::PER_CLASS]), ("10", names)):
        (root / "meta" / f"{percent}percent.txt").write_text("\n".join(share) + "\n", encoding="utf-8")


def _imagenet_flat(root: Path, rng: np.random.Generator) -> None:
    """`train` in class folders, `val` flat with `meta/val.txt`, as the archives of ImageNet are unpacked."""
    _imagenet(root, rng)
    lines = []
    for path in sorted((root / "val").rglob("*.JPEG")):
        lines.append(f"{path.name} {IMAGENET_CLASSES[path.parent.name]}")
        path.rename(root / "val" / path.name)
    for wordnet in IMAGENET_CLASSES:
        (root / "val" / wordnet).rmdir()
    (root / "meta" / "val.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _inaturalist(year: int, classes: int) -> Callable[[Path, np.random.Generator], None]:
    def make(root: Path, rng: np.random.Generator) -> None:
        categories = [dict(id=i, name=f"species {i}", supercategory="Plantae") for i in range(classes)]
        for half, split in enumerate(("train", "val")):
            images, annotations = [], []
            for number, category in enumerate((0, 1, classes - 1)):
                name = f"train_val{year}/Plantae/{category}/{split}{number}.jpg"
                _save(root / name, _noise(rng))
                id_ = 100 * half + number
                images.append(dict(id=id_, file_name=name, height=SIZE[0], width=SIZE[1]))
                annotations.append(dict(id=id_, image_id=id_, category_id=category))
            _dump(
                root / f"{split}{year}.json",
                dict(images=images, annotations=annotations, categories=categories),
            )

    return make


def _places205(root: Path, rng: np.random.Generator) -> None:
    images, lists = root / "data/vision/torralba/deeplearning/images256", root / "trainvalsplit_places205"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        lines = []
        for number, (name, label) in enumerate((("a/abbey", 0), ("a/airport_terminal", 1), ("y/yard", 204))):
            path = f"{name}/gsun_{split}{number}.jpg"
            _save(images / path, _noise(rng))
            lines.append(f"{path} {label}")
        (lists / f"{split}_places205.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _places365(root: Path, rng: np.random.Generator) -> None:
    train, val = [], []
    for number, (name, label) in enumerate(
        (("a/airfield", 0), ("a/airplane_cabin", 1), ("z/zen_garden", 364))
    ):
        train.append(f"/{name}/00000001.jpg {label}")
        _save(root / f"data_256/{name}/00000001.jpg", _noise(rng))
        val.append(f"Places365_val_{number + 1:08d}.jpg {label}")
        _save(root / f"val_256/Places365_val_{number + 1:08d}.jpg", _noise(rng))
    for name, lines in (("train_standard", train), ("val", val)):
        (root / f"places365_{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _cifar100(root: Path, rng: np.random.Generator) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        labels = [0, 1, 50, 99]
        data = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        content = dict(
            data=data,
            fine_labels=labels,
            coarse_labels=[0] * len(labels),
            filenames=[f"{split}{number}.png" for number in range(len(labels))],
        )
        (folder / split).write_bytes(pickle.dumps(content, protocol=2))


def _coco(root: Path, rng: np.random.Generator) -> None:
    """Four images per half: two or three objects, one with a crowd, one empty, one with a tiny object.

    With `stuffthingmaps`, which semantic heads need: a class of 0 to 181 per pixel, 255 for none.
    """
    with quiet():
        from mmdet.datasets import CocoDataset  # imports mmdet: only when COCO is asked for

    categories = [
        dict(id=id_, name=name, supercategory="thing")
        for id_, name in zip(COCO_IDS, CocoDataset.METAINFO["classes"], strict=True)
    ]
    (root / "annotations").mkdir(parents=True)
    for half, split in enumerate(("train2017", "val2017")):
        images, annotations = [], []
        for number in range(4):
            id_ = 100 * (half + 1) + number
            name = f"{id_:012d}.jpg"
            _save(root / split / name, _noise(rng))
            stuff = np.repeat(np.array([0, 91, 181, 255], dtype=np.uint8), SIZE[1] // 4)
            _save(root / "stuffthingmaps" / split / f"{id_:012d}.png", np.tile(stuff, (SIZE[0], 1)))
            images.append(dict(id=id_, file_name=name, height=SIZE[0], width=SIZE[1]))
            for side in ((20, 14), (20, 14, 12), (), (4,))[number]:
                annotations.append(_object(len(annotations) + 1, id_, rng, side))
            if number == 0:
                annotations.append(_crowd(len(annotations) + 1, id_))
        content = dict(info={}, licenses=[], images=images, annotations=annotations, categories=categories)
        _dump(root / "annotations" / f"instances_{split}.json", content)


def _object(id_: int, image: int, rng: np.random.Generator, side: int) -> dict:
    x, y = (int(rng.integers(0, length - side)) for length in (SIZE[1], SIZE[0]))
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    return dict(
        id=id_,
        image_id=image,
        category_id=COCO_IDS[(7 * id_) % 80],
        bbox=[x, y, side, side],
        area=side * side,
        segmentation=[corners],
        iscrowd=0,
    )


def _crowd(id_: int, image: int) -> dict:
    """The left ten columns, as uncompressed run lengths (column by column)."""
    height, width = SIZE
    counts = [0, 10 * height, (width - 10) * height]
    return dict(
        id=id_,
        image_id=image,
        category_id=1,
        bbox=[0, 0, 10, height],
        area=10 * height,
        segmentation=dict(size=[height, width], counts=counts),
        iscrowd=1,
    )


def _ade20k(root: Path, rng: np.random.Generator) -> None:
    """Blocks of classes, 1 to 150, and 0 (other): of all of them in training, of some in validation."""
    for split, count in (("training", 4), ("validation", 3)):
        for number in range(count):
            name = f"ADE_{'train' if split == 'training' else 'val'}_{number + 1:08d}"
            _save(root / "images" / split / f"{name}.jpg", _noise(rng))
            side = 4 if split == "training" else 8
            rows, columns = SIZE[0] // side, SIZE[1] // side
            blocks = np.resize(rng.permutation(151).astype(np.uint8), rows * columns)
            blocks[0] = 0
            map_ = np.kron(blocks.reshape(rows, columns), np.ones((side, side), np.uint8))
            _save(root / "annotations" / split / f"{name}.png", map_)


MAKERS: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "imagenet": _imagenet,
    "imagenet-flat": _imagenet_flat,
    "inat2018": _inaturalist(2018, 8142),
    "inat2019": _inaturalist(2019, 1010),
    "places205": _places205,
    "places365": _places365,
    "cifar100": _cifar100,
    "coco": _coco,
    "ade20k": _ade20k,
}


def _noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _dump(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
