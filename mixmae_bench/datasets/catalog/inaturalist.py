"""iNaturalist 2018 and 2019, read from the competitions' JSON files.

The competition page of 2019 states 268,243 images in total, 3,030 of them for validation. Some papers state
265,240 for training, which contradicts this.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
from mmpretrain.datasets import CustomDataset

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.lists import labelled
from mixmae_bench.datasets.tiny import SIZE, save_noise
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS


@DATASETS.register_module()
class INaturalist(CustomDataset):
    """iNaturalist 2018 or 2019: JSON files with `images`, `annotations` and `categories`.

    `file_name` (`train_val2018/Plantae/7477/....jpg`) is relative to data_prefix, usually ''. Labels are the
    ranks of the category IDs: 0 to 8141 in 2018, 0 to 1009 in 2019.
    """

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of every image.

        Raises:
            UserError: If the file is missing or not JSON of this format, or an image has no known category.
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
        return [labelled(self.img_prefix, name, label_of[category]) for name, category in images]


def _make_tiny(root: Path, rng: np.random.Generator, year: int, classes: int) -> None:
    """Write all categories, and one image each of the first, the second and the last."""
    categories = [dict(id=i, name=f"species {i}", supercategory="Plantae") for i in range(classes)]
    for half, split in enumerate(("train", "val")):
        images, annotations = [], []
        for number, category in enumerate((0, 1, classes - 1)):
            name = f"train_val{year}/Plantae/{category}/{split}{number}.jpg"
            save_noise(root / name, rng)
            id_ = 100 * half + number
            images.append(dict(id=id_, file_name=name, height=SIZE[0], width=SIZE[1]))
            annotations.append(dict(id=id_, image_id=id_, category_id=category))
        content = dict(images=images, annotations=annotations, categories=categories)
        (root / f"{split}{year}.json").write_text(json.dumps(content), encoding="utf-8")


def _entry(year: int, train: int, val: int, classes: int) -> DatasetEntry:
    def part(split: str, images: int) -> Part:
        layout = dict(type="mixmae_bench.INaturalist", ann_file=f"{split}{year}.json", data_prefix="")
        return Part(split, images, classes, (layout,))

    return DatasetEntry(
        f"inat{year}",
        f"data/iNaturalist{year}",
        (part("train", train), part("val", val)),
        partial(_make_tiny, year=year, classes=classes),
    )


add_dataset(_entry(2018, train=437_513, val=24_426, classes=8142))
add_dataset(_entry(2019, train=265_213, val=3_030, classes=1010))
