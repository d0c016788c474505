"""ImageNet-1K: class folders, a flat `val` with `meta/val.txt`, and lists of 1 % and 10 % of the labels."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets import ImageNet as _ImageNet
from timm.data import ImageNetInfo

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.lists import clean_path, is_hidden, labelled, read_lines, split_label
from mixmae_bench.datasets.tiny import save_noise
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

TINY_CLASSES = {"n01440764": 0, "n02099601": 207, "n15075141": 999}
"""Class folders of the tiny copy and their labels."""

TINY_PER_CLASS = 2
"""Images per class and split."""

LISTS_OF_100 = {
    "meta/imagenet100_train.txt": ("train", 700),
    "meta/imagenet100_10percent.txt": ("train", 70),
    "meta/imagenet100_val.txt": ("val", 50),
}
"""Lists of ImageNet-100 (tools/imagenet100_lists.py): their split, and images per class of 100 classes."""


@cache
def wordnet_ids() -> tuple[str, ...]:
    """Return the WordNet IDs of ImageNet-1K's classes in the order of the labels."""
    return tuple(ImageNetInfo().label_names())


@DATASETS.register_module()
class ImageNet(CustomDataset):
    """ImageNet-1K. Labels follow from the WordNet ID, so they do not change if class folders are missing.

    Args:
        data_root: Folder of `train`, `val` and optionally `meta`.
        split: 'train' or 'val', or '' if data_prefix (and ann_file) are given.
        data_prefix: Folder of the images (default: the split).
        ann_file: List of images, such as the lists of 1 % and 10 % of the labels: `n01440764_10026.JPEG` or
            `n01440764/n01440764_10026.JPEG`, optionally followed by a label. Default: `meta/SPLIT.txt` if the
            image folder has no class folders (`ILSVRC2012_val_00000001.JPEG 65`), else none.
        with_label: Whether to load labels; without them, the images may be anywhere under data_prefix.
        kwargs: Arguments of mmpretrain's CustomDataset.
    """

    METAINFO = _ImageNet.METAINFO
    TITLE = "ImageNet-1K"

    def __init__(
        self, data_root: str = "", split: str = "", data_prefix: str = "", ann_file: str = "", **kwargs
    ) -> None:
        data_prefix = data_prefix or split
        folder = Path(data_root, data_prefix)
        if split and not ann_file and kwargs.get("with_label", True) and not any(_class_folders(folder)):
            ann_file = f"meta/{split}.txt"
        super().__init__(data_root=data_root, data_prefix=data_prefix, ann_file=ann_file, **kwargs)

    @property
    def label_of(self) -> dict[str, int]:
        """Labels in ImageNet-1K's order by the names of class folders; other labels do not occur."""
        return {name: label for label, name in enumerate(wordnet_ids())}

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image.

        Raises:
            UserError: If the list is missing or empty, or a folder or a line does not name a class.
        """
        if not self.with_label and self.ann_file:
            names = map(clean_path, read_lines(self.ann_file))
            return [dict(img_path=os.path.join(self.img_prefix, name)) for name in names]
        if not self.with_label:
            return super().load_data_list()
        label_of = self.label_of
        if self.ann_file:
            return [self._listed(line, label_of) for line in read_lines(self.ann_file)]
        data = []
        for name in sorted(_class_folders(Path(self.img_prefix))):
            if name not in label_of:
                raise UserError(
                    f"data: {Path(self.img_prefix, name)} is no class of {self.TITLE}; move it away"
                )
            files = sorted(os.listdir(os.path.join(self.img_prefix, name)))
            data += [
                labelled(self.img_prefix, f"{name}/{file}", label_of[name])
                for file in files
                if self.is_valid_file(file) and not is_hidden(file)
            ]
        return data

    def _listed(self, line: str, label_of: dict[str, int]) -> dict:
        path, label = split_label(line)
        wordnet = Path(path).name.partition("_")[0]
        if wordnet in label_of:
            path = path if "/" in path else f"{wordnet}/{path}"
        number = label_of.get(wordnet) if label is None else label
        if not path or number is None or number >= len(label_of) or number != label_of.get(wordnet, number):
            raise UserError(
                f"data: {self.ann_file} has the line '{line}'; each must be a file named by its class "
                f"(n01440764_10026.JPEG), or a file and a label from 0 to {len(label_of) - 1}"
            )
        return labelled(self.img_prefix, path, number)


def _class_folders(folder: Path) -> Iterable[str]:
    try:
        return (entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise UserError(f"data: {folder} cannot be read ({error.strerror}); put the images there") from error


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    """Write `train` and `val` in class folders, and the lists of 1 % and 10 % of the labels in `meta`."""
    names = []
    for wordnet in TINY_CLASSES:
        for number in range(TINY_PER_CLASS):
            names.append(f"{wordnet}_{number + 1}.JPEG")
            save_noise(root / "train" / wordnet / names[-1], rng)
            save_noise(root / "val" / wordnet / f"ILSVRC2012_val_{len(names):08d}.JPEG", rng)
    (root / "meta").mkdir()
    for percent, share in (("1", names[::TINY_PER_CLASS]), ("10", names)):
        (root / "meta" / f"{percent}percent.txt").write_text("\n".join(share) + "\n", encoding="utf-8")
    for name, (split, _) in LISTS_OF_100.items():
        files = sorted((root / split).glob("*/*.JPEG"))
        lines = (f"{file.relative_to(root / split)} {TINY_CLASSES[file.parent.name]}\n" for file in files)
        (root / name).write_text("".join(lines), encoding="utf-8")


def _part(split: str, images: int) -> Part:
    return Part(split, images, 1000, (dict(type="mixmae_bench.ImageNet", split=split),))


add_dataset(
    DatasetEntry(
        "imagenet",
        "data/imagenet",
        (_part("train", 1_281_167), _part("val", 50_000)),
        _make_tiny,
        {
            **{"meta/1percent.txt": 12_811, "meta/10percent.txt": 128_116},
            **{name: 100 * per_class for name, (_, per_class) in LISTS_OF_100.items()},
        },
    )
)
