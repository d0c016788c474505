"""Classification data sets in the layouts that their authors publish, where mmpretrain asks for others.

    mixmae_bench.ImageNet     class folders, a flat `val` with `meta/val.txt`, lists of 1 % and 10 %
    mixmae_bench.INaturalist  the competition's JSON files, 2018 and 2019
    mixmae_bench.Places205    `train_places205.csv`, `val_places205.csv`
    mixmae_bench.Places365    `places365_train_standard.txt`, `places365_val.txt`
    mixmae_bench.CIFAR100     `cifar-100-python`; never downloaded

CocoDataset of mmdet and ADE20KDataset of mmseg read the published layouts as they are.
"""

import json
import os
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmpretrain.datasets import CIFAR100 as _CIFAR100
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets import ImageNet as _ImageNet
from mmpretrain.datasets import Places205 as _Places205
from timm.data import ImageNetInfo

from mixmae_bench.datasets.lists import clean_path, is_hidden, read_lines, split_label
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

CIFAR_TYPES = {("_codecs", "encode"), ("numpy", "ndarray"), ("numpy", "dtype")}
"""What the pickled CIFAR files name beside numpy's `_reconstruct`, which moved between versions of numpy."""


class _Listed(CustomDataset):
    """A data set whose list has lines `path label`; see `lists.split_label`."""

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image.

        Raises:
            UserError: Where the list is missing or empty, or a line has no label of a class.
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
            data.append(_item(self.img_prefix, path, label))
        return data


@DATASETS.register_module()
class Places205(_Listed):
    """Places205: `trainvalsplit_places205/{train,val}_places205.csv` (path, label; one blank between).

    data_prefix is the folder of the images, `data/vision/torralba/deeplearning/images256` in the archive.
    """

    METAINFO = _Places205.METAINFO


@DATASETS.register_module()
class Places365(_Listed):
    """Places365-Standard: `places365_train_standard.txt`, `places365_val.txt` (`/a/airfield/00000001.jpg 0`).

    data_prefix is the folder of the images, `data_256` or `data_large` and `val_256` or `val_large`. Classes
    have numbers for names. Without ann_file, one folder per class.
    """

    METAINFO = {"classes": tuple(str(number) for number in range(365))}


@DATASETS.register_module()
class ImageNet(CustomDataset):
    """ImageNet-1K; the label is that of the WordNet id, so no class has to be there for the others' sake.

    Args:
        data_root: Folder of `train`, `val` and, where there is one, `meta`.
        split: 'train' or 'val', or '' with data_prefix (and ann_file) given.
        data_prefix: Folder of the images (default: the split).
        ann_file: List of images, such as the ones of 1 % and 10 % of the labels: `n01440764_10026.JPEG` or
            `n01440764/n01440764_10026.JPEG`, with a label behind or without. Default: `meta/SPLIT.txt` for a
            folder without class folders (`ILSVRC2012_val_00000001.JPEG 65`), else none.
        with_label: Whether labels are asked for; images anywhere under data_prefix will do without.
        kwargs: As for mmpretrain's CustomDataset.
    """

    METAINFO = _ImageNet.METAINFO

    def __init__(
        self, data_root: str = "", split: str = "", data_prefix: str = "", ann_file: str = "", **kwargs
    ) -> None:
        data_prefix = data_prefix or split
        folder = Path(data_root, data_prefix)
        if split and not ann_file and kwargs.get("with_label", True) and not any(_class_folders(folder)):
            ann_file = f"meta/{split}.txt"
        super().__init__(data_root=data_root, data_prefix=data_prefix, ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image.

        Raises:
            UserError: Where the list is missing or empty, or a folder or a line is of no class.
        """
        if not self.with_label and self.ann_file:
            names = map(clean_path, read_lines(self.ann_file))
            return [dict(img_path=os.path.join(self.img_prefix, name)) for name in names]
        if not self.with_label:
            return super().load_data_list()
        label_of = {name: label for label, name in enumerate(ImageNetInfo().label_names())}
        if self.ann_file:
            return [self._listed(line, label_of) for line in read_lines(self.ann_file)]
        data = []
        for name in sorted(_class_folders(Path(self.img_prefix))):
            if name not in label_of:
                raise UserError(f"data: {self.img_prefix}/{name} is no class of ImageNet-1K; move it away")
            files = sorted(os.listdir(os.path.join(self.img_prefix, name)))
            data += [
                _item(self.img_prefix, f"{name}/{file}", label_of[name])
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
        return _item(self.img_prefix, path, number)


@DATASETS.register_module()
class INaturalist(CustomDataset):
    """iNaturalist 2018 or 2019: JSON files with `images`, `annotations` and `categories`.

    data_prefix is the folder that `file_name` (`train_val2018/Plantae/7477/....jpg`) starts from, mostly ''.
    Labels are category ids in order: 0 to 8141 in 2018, 0 to 1009 in 2019.
    """

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image.

        Raises:
            UserError: Where the file is missing, is no JSON of this form, or an image has no known category.
        """
        try:
            with open(self.ann_file, encoding="utf-8-sig") as file:
                content = json.load(file)
            categories = sorted(content["categories"], key=lambda category: category["id"])
            label_of = {category["id"]: label for label, category in enumerate(categories)}
            self._metainfo.setdefault("classes", tuple(category["name"] for category in categories))
            category_of = {note["image_id"]: note["category_id"] for note in content["annotations"]}
            images = [(image["file_name"], category_of.get(image["id"])) for image in content["images"]]
        except OSError as error:
            raise UserError(
                f"data: {self.ann_file} cannot be read ({error.strerror}); put it there"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"data: {self.ann_file} is not JSON with images, annotations and categories "
                f"({type(error).__name__}: {error}); get it again"
            ) from error
        for name, category in images:
            if category not in label_of:
                raise UserError(
                    f"data: {self.ann_file} gives image {name} "
                    + ("no annotation" if category is None else f"category {category}, which is not listed")
                )
        return [_item(self.img_prefix, name, label_of[category]) for name, category in images]


@DATASETS.register_module()
class CIFAR100(_CIFAR100):
    """CIFAR-100 from the unpacked `cifar-100-python`, read as data only: what the pickles name is checked.

    Args:
        data_root: Folder of `cifar-100-python`.
        split: 'train' or 'test'.
        kwargs: As for mmpretrain's CIFAR100. Nothing is downloaded.
    """

    def __init__(self, data_root: str, split: str = "train", **kwargs) -> None:
        super().__init__(data_root=data_root, split=split, download=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return `img`, (32, 32, 3) uint8 RGB, and `gt_label` of every image.

        Raises:
            UserError: Where the file is missing or not the published one.
        """
        path = Path(self.data_prefix["root"], self.base_folder, self.split)
        try:
            with open(path, "rb") as file:
                content = _DataOnly(file, encoding="latin1").load()
            images = np.asarray(content["data"]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            labels = content["fine_labels"]
        except OSError as error:
            raise UserError(
                f"data: {path} cannot be read ({error.strerror}); unpack cifar-100-python.tar.gz there"
            ) from error
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"data: {path} is not the file of cifar-100-python.tar.gz: {error}") from error
        return [dict(img=image, gt_label=int(label)) for image, label in zip(images, labels, strict=True)]


class _DataOnly(pickle.Unpickler):
    """Builds arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in CIFAR_TYPES or (module.startswith("numpy.") and name == "_reconstruct"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _item(prefix: str, path: str, label: int) -> dict:
    return dict(img_path=os.path.join(prefix, path), gt_label=label)


def _class_folders(folder: Path) -> Iterable[str]:
    try:
        return (entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise UserError(f"data: {folder} cannot be read ({error.strerror}); put the images there") from error
