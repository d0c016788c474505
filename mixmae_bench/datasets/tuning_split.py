"""The tuning split: images taken out of the training data, on which the settings of a recipe are chosen.

`carve` changes a config only. `tuning_split` is the data set type that it puts around the training data, once
for training and once for validation; each selects its part when it is built.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset

from mixmae_bench.datasets.evaluators import METRICS, SUBSET_METRIC
from mixmae_bench.datasets.leaves import SPLIT, TRAIN, TUNING, dicts, leaves, type_name, wrapped
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

OF_VALIDATION = ("pipeline", "test_mode")
"""Keys of the data set of validation that the tuning images keep; all others are the training set's."""


def carve(cfg: Config, share: float, seed: int) -> Config:
    """Return a config that trains without the tuning images and is evaluated on them.

    The evaluation keeps the pipeline, loader and evaluator of validation. The config does not name the data
    sets of validation and test any more.

    Args:
        cfg: The config.
        share: Share of the training images in the tuning split.
        seed: Seed of the choice of the images.

    Raises:
        UserError: If training or validation has no data set or several, or an evaluator reads annotations of
            its own and cannot be restricted to the tuning images.
    """
    train, shown = only_leaf(cfg, "train_dataloader"), as_validated(cfg)
    cfg = copy.deepcopy(cfg)
    split = dict(type=SPLIT, share=share, seed=seed)
    loader = cfg.train_dataloader
    loader.dataset = _around_leaf(loader.dataset, {**split, "part": TRAIN})
    cfg.val_dataloader.dataset = ConfigDict(**split, part=TUNING, dataset=shown)
    _restrict_evaluators(cfg, train)
    for key in ("dataloader", "evaluator"):
        if f"test_{key}" in cfg:
            cfg[f"test_{key}"] = copy.deepcopy(cfg[f"val_{key}"])
    return cfg


@DATASETS.register_module()
def tuning_split(part: str, share: float, seed: int, dataset: Mapping) -> BaseDataset:
    """Build a data set with the training part or the tuning part of its images. A type of `DATASETS`.

    The split depends on the list of images, `share` and `seed` only. If the images have one label each, every
    class contributes the same share. `indices` of the data set apply before the split and `filter_cfg` after
    it, so that both parts are of the same images.

    Args:
        part: 'train' or 'tuning'.
        share: Share of the images in the tuning part.
        seed: Seed of the choice.
        dataset: Config of the data set.

    Raises:
        UserError: If a part would have no image.
    """
    own = dict(copy.deepcopy(dataset), lazy_init=True)
    indices = own.pop("indices", None)
    built: BaseDataset = DATASETS.build(own)
    load = built.load_data_list

    def selected() -> list:
        items = load()
        if indices is not None:
            items = items[:indices] if isinstance(indices, int) else [items[i] for i in indices]
        chosen = tuning_images([item.get("gt_label") for item in items], share, seed)
        if not 0 < len(chosen) < len(items):
            raise UserError(
                f"data: {built.ann_file or built.data_root}: {len(chosen)} of {len(items)} images would be "
                f"in the tuning split; change `share` ({share}) of the suite's tuning"
            )
        return [item for number, item in enumerate(items) if (number in chosen) == (part == TUNING)]

    built.load_data_list = selected
    built.full_init()
    del built.load_data_list  # a process of the loader could not unpickle it
    return built


def tuning_images(labels: Sequence, share: float, seed: int) -> set[int]:
    """Return the numbers of the images in the tuning split.

    If every image has an integer label, every class contributes its share, rounded down or up so that the sum
    is the share of all images; a class with a single image contributes none.

    Args:
        labels: Label of every image. Unless all are integers, images are chosen regardless of the label.
        share: Share of the images.
        seed: Seed of the choice.
    """
    classed = all(isinstance(label, Integral) for label in labels)
    of_class: dict[object, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        of_class[label if classed else None].append(number)
    rng = np.random.default_rng(seed)
    classes = [rng.permutation(numbers) for _, numbers in sorted(of_class.items())]
    counts = [int(share * len(numbers)) for numbers in classes]
    several = [place for place in rng.permutation(len(classes)) if len(classes[place]) > 1]
    by_remainder = sorted(several, key=lambda place: counts[place] - share * len(classes[place]))
    for place in by_remainder[: round(share * len(labels)) - sum(counts)]:
        counts[place] += 1
    return {int(n) for numbers, count in zip(classes, counts, strict=True) for n in numbers[:count]}


def as_validated(cfg: Config) -> dict:
    """Return the config of the training data set with the pipeline of validation.

    Raises:
        UserError: If training or validation has no data set or several.
    """
    train, val = only_leaf(cfg, "train_dataloader"), only_leaf(cfg, "val_dataloader")
    shown = {key: value for key, value in train.items() if key not in OF_VALIDATION}
    return shown | {key: val[key] for key in OF_VALIDATION if key in val}


def only_leaf(cfg: Config, loader: str) -> Mapping:
    """Return the config of the only data set of a loader.

    Raises:
        UserError: If it has none or several.
    """
    found = [leaf.dataset for leaf in leaves(cfg) if leaf.loader == loader]
    if len(found) != 1:
        raise UserError(f"config {cfg.filename}: {loader} has {len(found)} data sets; give a config with one")
    return found[0]


def _around_leaf(dataset: Mapping, split: Mapping) -> ConfigDict:
    """Return a data set config with a split around the data set inside its wrappers."""
    inside = wrapped(dataset)
    if not inside:
        return ConfigDict(**split, dataset=dataset)
    if "dataset" in inside:
        return ConfigDict({**dataset, "dataset": _around_leaf(dataset["dataset"], split)})
    return ConfigDict({**dataset, "datasets": [_around_leaf(part, split) for part in dataset["datasets"]]})


def _restrict_evaluators(cfg: Config, train: Mapping) -> None:
    """Let evaluators with an annotation file use the training set's, restricted to the evaluated images."""
    for metric in dicts(cfg.val_evaluator):
        if "ann_file" not in metric or metric["ann_file"] is None:
            continue
        if type_name(metric) not in METRICS or not train.get("ann_file"):
            raise UserError(
                f"config {cfg.filename}: val_evaluator {type_name(metric)} reads {metric['ann_file']} and "
                "cannot be restricted to a tuning split; use mmdet's CocoMetric"
            )
        metric["type"] = SUBSET_METRIC
        metric["ann_file"] = str(Path(train.get("data_root") or ".", train["ann_file"]))
