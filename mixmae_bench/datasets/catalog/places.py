"""Places205 and Places365-Standard, read from their lists of images."""

from pathlib import Path

import numpy as np
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets import Places205 as _Places205

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.lists import labelled, read_lines, split_label
from mixmae_bench.datasets.tiny import save_noise
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

IMAGES_205 = "data/vision/torralba/deeplearning/images256"
"""Folder of the images in the archive of Places205."""


class _Listed(CustomDataset):
    """A data set with a list of lines `path label`; see `lists.split_label`."""

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image.

        Raises:
            UserError: If the list is missing or empty, or a line has no valid label.
        """
        if not self.ann_file:
            return super().load_data_list()
        data = []
        for line in read_lines(self.ann_file):
            path, label = split_label(line)
            if not path or label is None or label >= len(self.CLASSES):
                raise UserError(
                    f"data: {self.ann_file} has the line '{line}'; "
                    f"each must be a path and a class from 0 to {len(self.CLASSES) - 1}"
                )
            data.append(labelled(self.img_prefix, path, label))
        return data


@DATASETS.register_module()
class Places205(_Listed):
    """Places205: `trainvalsplit_places205/{train,val}_places205.csv` (lines `path label`).

    data_prefix is the folder of the images, `data/vision/torralba/deeplearning/images256` in the archive.
    """

    METAINFO = _Places205.METAINFO


@DATASETS.register_module()
class Places365(_Listed):
    """Places365-Standard: `places365_train_standard.txt`, `places365_val.txt` (`/a/airfield/00000001.jpg 0`).

    data_prefix is the folder of the images: `data_256` or `data_large` for training, `val_256` or `val_large`
    for validation. Class names are the labels as strings. Without ann_file, there is one folder per class.
    """

    METAINFO = {"classes": tuple(str(number) for number in range(365))}


def _make_tiny_205(root: Path, rng: np.random.Generator) -> None:
    lists = root / "trainvalsplit_places205"
    lists.mkdir(parents=True)
    for split in ("train", "val"):
        lines = []
        for number, (name, label) in enumerate((("a/abbey", 0), ("a/airport_terminal", 1), ("y/yard", 204))):
            path = f"{name}/gsun_{split}{number}.jpg"
            save_noise(root / IMAGES_205 / path, rng)
            lines.append(f"{path} {label}")
        (lists / f"{split}_places205.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _make_tiny_365(root: Path, rng: np.random.Generator) -> None:
    train, val = [], []
    scenes = (("a/airfield", 0), ("a/airplane_cabin", 1), ("z/zen_garden", 364))
    for number, (name, label) in enumerate(scenes):
        train.append(f"/{name}/00000001.jpg {label}")
        save_noise(root / f"data_256/{name}/00000001.jpg", rng)
        val.append(f"Places365_val_{number + 1:08d}.jpg {label}")
        save_noise(root / f"val_256/Places365_val_{number + 1:08d}.jpg", rng)
    for name, lines in (("train_standard", train), ("val", val)):
        (root / f"places365_{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _part_205(split: str, images: int) -> Part:
    lists = (f"trainvalsplit_places205/{split}_places205.csv", f"{split}_places205.csv")
    layouts = [dict(type="mixmae_bench.Places205", ann_file=file, data_prefix=IMAGES_205) for file in lists]
    return Part(split, images, 205, tuple(layouts))


def _part_365(split: str, images: int, file: str, folders: tuple[str, ...]) -> Part:
    layouts = [dict(type="mixmae_bench.Places365", ann_file=file, data_prefix=folder) for folder in folders]
    layouts.append(dict(type="mixmae_bench.Places365", data_prefix=split))  # one folder per class
    return Part(split, images, 365, tuple(layouts))


add_dataset(
    DatasetEntry(
        "places205",
        "data/places205",
        (_part_205("train", 2_448_873), _part_205("val", 20_500)),
        _make_tiny_205,
    )
)
add_dataset(
    DatasetEntry(
        "places365",
        "data/places365",
        (
            _part_365("train", 1_803_460, "places365_train_standard.txt", ("data_256", "data_large")),
            _part_365("val", 36_500, "places365_val.txt", ("val_256", "val_large")),
        ),
        _make_tiny_365,
    )
)
