"""ImageNet-V2, ImageNet-A, ImageNet-R and ImageNet-Sketch: evaluation sets in class folders.

ImageNet-V2: arXiv 1902.10811; ImageNet-A: arXiv 1907.07174; ImageNet-R: arXiv 2006.16241; ImageNet-Sketch:
arXiv 1905.13549.
"""

from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.catalog.imagenet import ImageNet
from mixmae_bench.datasets.tiny import save_noise
from mixmae_bench.registry import DATASETS

V2_FOLDER = "imagenetv2-matched-frequency-format-val"
"""Folder in the archive of ImageNet-V2, of the version with matched frequency."""


@DATASETS.register_module()
class ImageNetV2(ImageNet):
    """ImageNet-V2. Class folders are named by the labels 0 to 999, not by WordNet IDs."""

    TITLE = "ImageNet-V2, which has the folders 0 to 999"

    @property
    def label_of(self) -> dict[str, int]:
        return {str(label): label for label in range(1000)}


class _Subset(ImageNet):
    """A data set of 200 classes of ImageNet-1K, in folders of WordNet IDs."""

    CLASS_LIST: str
    """List of WordNet IDs that comes with timm."""

    @property
    def label_of(self) -> dict[str, int]:
        classes = (files("timm.data") / "_info" / self.CLASS_LIST).read_text("utf-8").split()
        labels = super().label_of
        return {name: labels[name] for name in classes}


@DATASETS.register_module()
class ImageNetA(_Subset):
    """ImageNet-A: 200 classes of ImageNet-1K, in folders of WordNet IDs."""

    TITLE, CLASS_LIST = "ImageNet-A", "imagenet_a_synsets.txt"


@DATASETS.register_module()
class ImageNetR(_Subset):
    """ImageNet-R: 200 classes of ImageNet-1K, in folders of WordNet IDs."""

    TITLE, CLASS_LIST = "ImageNet-R", "imagenet_r_synsets.txt"


def _make_tiny(root: Path, rng: np.random.Generator, prefix: str, names: tuple[str, ...], file: str) -> None:
    for name in names:
        for number in range(2):
            save_noise(root / prefix / name / file.format(number), rng)


def _add(name: str, kind: type[ImageNet], prefix: str, images: int, classes: int, **tiny: object) -> None:
    layout = dict(type=f"mixmae_bench.{kind.__name__}", data_prefix=prefix)
    part = Part("val", images, classes, (layout,))
    add_dataset(DatasetEntry(name, f"data/{name}", (part,), partial(_make_tiny, prefix=prefix, **tiny)))


_add("imagenet-v2", ImageNetV2, V2_FOLDER, 10_000, 1000, names=("0", "2", "10", "999"), file="{}.jpeg")
_add(
    *("imagenet-a", ImageNetA, "", 7_500, 200),
    names=("n01498041", "n01531178", "n12267677"),
    file="0.00{}_fox squirrel _ sea lion_0.77.jpg",
)
_add(
    *("imagenet-r", ImageNetR, "", 30_000, 200),
    names=("n01443537", "n01484850", "n12267677"),
    file="art_{}.jpg",
)
_add(
    *("imagenet-sketch", ImageNet, "sketch", 50_889, 1000),
    names=("n01440764", "n02099601", "n15075141"),
    file="sketch_{}.JPEG",
)
