"""Checks of a config's data sets before training: whether they can be read, their classes, their labels."""

import contextlib
import functools
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mixmae_bench.data.unreadable import LEAST, SHARE
from mixmae_bench.errors import UserError

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
SKIPPING = ("mixmae_bench.LoadImage", "mixmae_bench.LoadSegMap")


def check_datasets(cfg: Config) -> dict[str, int]:
    """Build the data sets of a config without their pipelines, and check what can be checked at no image.

    A data set is read once per process, however many configs name it.

    Args:
        cfg: The config, with its data found (`config.find_data`).

    Returns:
        The number of images per loader (`train_dataloader`, ...).

    Raises:
        UserError: Where a data set cannot be built or is empty, a label is no class, an annotation or a class
            is missing, or the number of classes is not that of a head. The message names the file.
    """
    images, heads = {}, dict(_class_counts(cfg.to_dict()))
    for loader in LOADERS:
        dataset = (cfg.get(loader) or {}).get("dataset")
        while dataset and "dataset" in dataset:  # wrappers such as RepeatDataset
            dataset = dataset["dataset"]
        if not dataset or "pipeline" not in dataset:
            continue
        where = f"{loader}.dataset of {cfg.filename}"
        settings = {key: value for key, value in dataset.to_dict().items() if key != "pipeline"}
        settings.setdefault("_scope_", cfg.get("default_scope"))
        try:
            images[loader], classes, highest = _read(json.dumps(settings))
        except UserError:
            raise
        except Exception as error:  # any reader of any format
            reason = " ".join(str(error).split())
            file = Path(dataset.get("data_root") or ".", dataset.get("ann_file") or "")
            raise UserError(
                f"data: {file} ({where}) cannot be read: {type(error).__name__}: {reason}"
            ) from error
        for head, count in heads.items():
            if classes and count != classes:
                raise UserError(
                    f"data: {where} has {classes} classes, and {head} is {count}; change one of them"
                )
            if not classes and highest and highest.label >= count:
                raise UserError(
                    f"data: {highest.source} gives {highest.image} label {highest.label}, "
                    f"and {head} is {count}; change one of them"
                )
    return images


def allow_skips(cfg: Config) -> None:
    """Let the training set's LoadImage and LoadSegMap skip what cannot be read, up to `max_unreadable`.

    Args:
        cfg: The config, with its `work_dir`, where `unreadable.txt` will list what is skipped. Its
            `max_unreadable` is a share of the images (default 0.001); 10 may always be skipped.

    Raises:
        UserError: As `check_datasets`.
    """
    images = check_datasets(cfg).get("train_dataloader")
    if images is None:
        return
    limit = max(LEAST, int(cfg.get("max_unreadable", SHARE) * images))
    skips = dict(file=str(Path(cfg.work_dir) / "unreadable.txt"), limit=limit)
    for transform in _dicts(cfg.train_dataloader.dataset):
        if transform.get("type") in SKIPPING:
            transform["skips"] = skips


class _Label(NamedTuple):
    label: int
    image: str
    source: str


@functools.cache
def _read(settings: str) -> tuple[int, int | None, _Label | None]:
    """Build a data set, check it, and return its numbers of images and classes, and its highest label.

    The number of classes is None where the data set does not name them, the label where there is none.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of its progress
        dataset: BaseDataset = DATASETS.build(dict(json.loads(settings), pipeline=[], serialize_data=False))
    source = dataset.ann_file or ", ".join(sorted(set(dataset.data_prefix.values())))
    if not len(dataset):
        raise UserError(f"data: {source} has no image (of those that the config keeps)")
    classes = dataset.metainfo.get("classes")
    highest = None
    for item in dataset.data_list:
        if not isinstance(item.get("gt_label"), int):
            continue
        label = _Label(item["gt_label"], item.get("img_path", "an image"), source)
        if label.label < 0 or (classes and label.label >= len(classes)):
            known = f"; classes are 0 to {len(classes) - 1}" if classes else ", which is below 0"
            raise UserError(f"data: {source} gives {label.image} label {label.label}{known}")
        highest = max(highest or label, label)
    _check_objects(dataset, source)
    _check_seg_maps(dataset)
    return len(dataset), len(classes) if classes else None, highest


def _check_objects(dataset: BaseDataset, source: str) -> None:
    """Check a detection set: mmdet leaves out classes that the file does not have, and says nothing."""
    if not hasattr(dataset, "cat_ids"):
        return
    classes = dataset.metainfo["classes"]
    if len(dataset.cat_ids) != len(classes):
        raise UserError(
            f"data: {source} has {len(dataset.cat_ids)} of the {len(classes)} classes ({classes[0]}, ...) as "
            "categories; set the data set's metainfo.classes to their names"
        )
    if not any(item["instances"] for item in dataset.data_list):
        raise UserError(f"data: {source} has no usable annotation of any of its {len(dataset)} images")


def _check_seg_maps(dataset: BaseDataset) -> None:
    for item in dataset.data_list:
        path = item.get("seg_map_path")
        if path and not os.path.isfile(path):
            raise UserError(f"data: {item['img_path']} has no segmentation map: {path} does not exist")


def _class_counts(cfg: dict) -> Iterator[tuple[str, int]]:
    """Yield the places that state a number of classes, in heads and the preprocessor, and the numbers."""

    def walk(node: object, key: str) -> Iterator[tuple[str, int]]:
        for name, value in node.items() if isinstance(node, Mapping) else ():
            told = "head" in key or "preprocessor" in key
            if name == "num_classes" and told and "rpn" not in key and isinstance(value, int):
                yield f"{key}.{name}", value
            yield from walk(value, f"{key}.{name}")
        for number, value in enumerate(node if isinstance(node, list | tuple) else ()):
            yield from walk(value, f"{key}.{number}")

    for key in ("model", "data_preprocessor"):
        yield from walk(cfg.get(key), key)


def _dicts(node: object) -> Iterator[dict]:
    """Yield every dict in a config's node."""
    if isinstance(node, dict):
        yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from _dicts(value)
