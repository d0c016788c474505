"""ReaL: new labels of ImageNet-1K's validation images (arXiv 2006.07159)."""

import json
import os
import re
from pathlib import Path

import numpy as np

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.catalog.imagenet import ImageNet
from mixmae_bench.datasets.tiny import save_noise
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

IMAGES, CLASSES = 50_000, 1000
"""Validation images and classes of ImageNet-1K."""

LABELLED = 46_837
"""Images with at least one label; counted in the published file."""

NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
"""Names of validation images; the number, from 1, is the place in the list of labels."""

TINY_LABELS = {1: [970, 795], 2: [], 3: [809], 50_000: [0]}
"""Labels of the images of the tiny copy, by their numbers."""


@DATASETS.register_module()
class ImageNetReaL(ImageNet):
    """ImageNet-1K's validation images with ReaL's labels. Images without a label are left out.

    `gt_label` is a list: a prediction of any label in it is correct.

    Args:
        data_root: Folder of the data.
        ann_file: `real.json`, a list of the labels of every validation image in the order of their numbers.
        data_prefix: Folder of the images, in class folders or without.
        kwargs: Arguments of ImageNet.
    """

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image with labels.

        Raises:
            UserError: If the list does not have the labels of all validation images, or a folder is missing.
        """
        labels = _read_labels(self.ann_file)
        return [
            dict(img_path=path, gt_label=labels[number - 1])
            for number, path in _images(self.img_prefix)
            if labels[number - 1]
        ]


def _read_labels(file: str) -> list[list[int]]:
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"data: {file} cannot be read ({error.strerror}); put ReaL's file there") from error
    except ValueError as error:
        raise UserError(f"data: {file} is not JSON ({error}); get it again") from error
    if not isinstance(content, list) or len(content) != IMAGES:
        size = len(content) if isinstance(content, list) else "no list of"
        raise UserError(
            f"data: {file} has {size} images; it must list the labels of all {IMAGES} validation images"
        )
    for number, labels in enumerate(content, 1):
        if not isinstance(labels, list) or not all(type(n) is int and 0 <= n < CLASSES for n in labels):
            raise UserError(
                f"data: {file} has {str(labels)[:50]} for ILSVRC2012_val_{number:08d}; it must be a list of "
                f"labels from 0 to {CLASSES - 1}"
            )
    return content


def _images(folder: str) -> list[tuple[int, str]]:
    """Return the numbers and paths of the validation images in a folder and its class folders, in order."""
    found = []
    for parent, _, files in os.walk(folder, followlinks=True):
        for file in files:
            named = NAME.fullmatch(file)
            if named and not 0 < int(named[1]) <= IMAGES:
                raise UserError(f"data: {parent}/{file} is no validation image of ImageNet-1K; move it away")
            if named:
                found.append((int(named[1]), os.path.join(parent, file)))
    return sorted(found)


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    for number in TINY_LABELS:
        save_noise(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", rng)
    labels = [TINY_LABELS.get(number, []) for number in range(1, IMAGES + 1)]
    (root / "real.json").write_text(json.dumps(labels), encoding="utf-8")


_LAYOUT = dict(type="mixmae_bench.ImageNetReaL", ann_file="real.json")

add_dataset(
    DatasetEntry(
        "imagenet-real",
        "data/imagenet-real",
        (
            Part(
                "val",
                LABELLED,
                CLASSES,
                # The images of ImageNet-1K are beside, unless they are in this folder too.
                tuple(dict(_LAYOUT, data_prefix=folder) for folder in ("val", "../imagenet/val")),
            ),
        ),
        _make_tiny,
    )
)
