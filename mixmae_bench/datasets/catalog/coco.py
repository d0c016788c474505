"""COCO 2017, read by mmdet's CocoDataset."""

import json
from pathlib import Path

import numpy as np

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.tiny import SIZE, save_image, save_noise

CATEGORY_IDS = [number for number in range(1, 91) if number not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
"""COCO's 80 category IDs, within 1 to 90."""


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    """Write four images per split: two with objects (one also with a crowd), one empty, one with a tiny one.

    `stuffthingmaps`, for semantic heads, contain a class of 0 to 181 per pixel, 255 for none.
    """
    with quiet():
        from mmdet.datasets import CocoDataset  # imports mmdet, so only here

    categories = [
        dict(id=id_, name=name, supercategory="thing")
        for id_, name in zip(CATEGORY_IDS, CocoDataset.METAINFO["classes"], strict=True)
    ]
    (root / "annotations").mkdir(parents=True)
    for half, split in enumerate(("train2017", "val2017")):
        images, annotations = [], []
        for number in range(4):
            id_ = 100 * (half + 1) + number
            name = f"{id_:012d}.jpg"
            save_noise(root / split / name, rng)
            stuff = np.repeat(np.array([0, 91, 181, 255], dtype=np.uint8), SIZE[1] // 4)
            save_image(root / "stuffthingmaps" / split / f"{id_:012d}.png", np.tile(stuff, (SIZE[0], 1)))
            images.append(dict(id=id_, file_name=name, height=SIZE[0], width=SIZE[1]))
            for side in ((20, 14), (20, 14, 12), (), (4,))[number]:
                annotations.append(_object(len(annotations) + 1, id_, rng, side))
            if number == 0:
                annotations.append(_crowd(len(annotations) + 1, id_))
        content = dict(info={}, licenses=[], images=images, annotations=annotations, categories=categories)
        path = root / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


def _object(id_: int, image: int, rng: np.random.Generator, side: int) -> dict:
    x, y = (int(rng.integers(0, length - side)) for length in (SIZE[1], SIZE[0]))
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    return dict(
        id=id_,
        image_id=image,
        category_id=CATEGORY_IDS[(7 * id_) % 80],
        bbox=[x, y, side, side],
        area=side * side,
        segmentation=[corners],
        iscrowd=0,
    )


def _crowd(id_: int, image: int) -> dict:
    """Return a crowd annotation of the left ten columns, in uncompressed run lengths (column by column)."""
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


def _part(split: str, images: int) -> Part:
    layout = dict(
        type="CocoDataset",
        _scope_="mmdet",
        ann_file=f"annotations/instances_{split}2017.json",
        data_prefix=dict(img=f"{split}2017/"),
    )
    return Part(split, images, 80, (layout,))


add_dataset(DatasetEntry("coco", "data/coco", (_part("train", 118_287), _part("val", 5_000)), _make_tiny))
