"""Check before training which classes occur in the segmentation maps."""

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import numpy as np
from mmengine import fileio
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS

from mixmae_bench.datasets.frames import frame_problem, header
from mixmae_bench.datasets.leaves import dicts, sample, type_name
from mixmae_bench.datasets.seg_maps import IGNORED, read_labels
from mixmae_bench.errors import UserError
from mixmae_bench.system.environment import cores

MOST = 1000
"""Maps per data set that are read before training, evenly spaced; the rest are checked when loaded."""


class Shown(NamedTuple):
    """Classes that occur in the maps of a data set.

    Attributes:
        classes: Their labels.
        maps: Number of maps that were read.
        whole: Whether these are all maps of the data set, and `indices` is not set.
    """

    classes: frozenset[int]
    maps: int
    whole: bool


def read_maps(
    dataset: BaseDataset,
    pipeline: Sequence,
    loader: Mapping | None,
    classes: int | None,
    scope: str | None,
    skips: bool,
) -> Shown | None:
    """Read at most `MOST` maps of a segmentation data set; return None for other data sets.

    If the pipeline uses LoadAnnotations, the result is compared with that transform's.

    Args:
        dataset: The data set, built without its pipeline.
        pipeline: Config of its pipeline.
        loader: Config of the transform that loads images, or None.
        classes: Number of classes, or None if unknown.
        scope: The config's default scope.
        skips: Whether training skips corrupt files, so that they are no error here.

    Raises:
        UserError: At the first map that is missing or invalid, does not match its image in size or
            orientation, or is loaded differently by the pipeline.
    """
    items = [item for item in dataset.data_list if item.get("seg_map_path")]
    for item in items:
        path = item["seg_map_path"]
        if not os.path.isfile(path):
            raise UserError(f"data: {item['img_path']} has no segmentation map: {path} does not exist")
    items = [item for item in items if "reduce_zero_label" in item]  # mmseg's
    if not items:
        return None
    step = next((step for step in dicts(pipeline) if type_name(step) == "LoadAnnotations"), None)
    with warnings.catch_warnings(action="ignore"):  # a deprecated argument; training warns again
        theirs = TRANSFORMS.build({"_scope_": scope, **step}) if step else None
    chosen, shown = sample(items, MOST), set()
    with ThreadPool(cores()) as pool:
        ignored = {IGNORED, getattr(dataset, "ignore_index", IGNORED)}
        look = partial(
            _look, loader=loader, theirs=theirs, classes=classes, ignored=ignored, skips=skips and not step
        )
        for labels in pool.imap(look, chosen, 16):
            shown |= labels
    whole = len(chosen) == len(items) and dataset._indices is None
    return Shown(frozenset(shown), len(chosen), whole)


def _look(
    item: dict, loader: Mapping | None, theirs: object, classes: int | None, ignored: set[int], skips: bool
) -> set[int]:
    path, mapping = item["seg_map_path"], item.get("label_map")
    try:
        labels = read_labels(
            fileio.get(path), len(mapping) if mapping else classes, bool(item["reduce_zero_label"])
        )
        found = header(item["img_path"]) if loader else None
    except OSError as error:
        if skips:
            return set()
        raise UserError(
            f"data: {path} or its image cannot be used: {error.strerror or error}; repair or remove it"
        ) from error
    except ValueError as error:
        raise UserError(f"data: {path} cannot be used: {error}") from error
    if found and (problem := frame_problem(found, labels.shape, loader)):
        raise UserError(f"data: {item['img_path']} does not fit its map {path}: {problem}")
    if mapping:
        labels = np.array([mapping.get(old, old) for old in range(256)], np.uint8)[labels]
    if theirs is not None:
        _compare(labels, theirs, item)
    return set(np.flatnonzero(np.bincount(labels.ravel())).tolist()) - ignored


def _compare(labels: np.ndarray, theirs: object, item: dict) -> None:
    path = item["seg_map_path"]
    try:
        loaded = theirs({**item, "seg_fields": []})["gt_seg_map"]
    except Exception as error:  # a transform of any package
        reason = " ".join(str(error).split())
        raise UserError(f"data: {path} cannot be loaded by {type(theirs).__name__}: {reason}") from error
    if loaded.shape != labels.shape or not (loaded == labels).all():
        raise UserError(
            f"data: {type(theirs).__name__} loads {path} otherwise than it is stored ({_values(loaded)} "
            f"instead of {_values(labels)}); use mixmae_bench.LoadSegMap, or imdecode_backend='pillow'"
        )


def _values(labels: np.ndarray) -> str:
    return f"{'x'.join(map(str, labels.shape))} with values {', '.join(map(str, np.unique(labels)[:5]))}"


def check_shown(loader: str, source: str, shown: Sequence[Shown], names: Sequence[str]) -> None:
    """Check that the maps of a loader contain the classes to learn or to evaluate.

    Args:
        loader: Key of the loader.
        source: Source of the maps, for messages.
        shown: The classes in the maps of each data set of the loader.
        names: Names of all classes.

    Raises:
        UserError: If fewer than two classes occur, or a class occurs in no training map.
    """
    classes, maps = frozenset().union(*(part.classes for part in shown)), sum(part.maps for part in shown)
    absent = [name for number, name in enumerate(names) if number not in classes]
    training, whole = loader == "train_dataloader", all(part.whole for part in shown)
    if len(classes) < 2:
        seen = [str(names[n]) if n < len(names) else str(n) for n in classes]
        raise UserError(
            f"data: the {maps} segmentation maps of {source} show "
            f"{f'only {some(seen)}' if seen else 'no class'} "
            f"({IGNORED} is ignored, and with reduce_zero_label 0 too): nothing to "
            f"{'learn' if training else 'tell apart'}"
        )
    if absent and training and whole:
        raise UserError(
            f"data: none of the {maps} segmentation maps of {source} shows {some(absent)} ({IGNORED} is "
            "ignored, and with reduce_zero_label 0 too); correct the maps, or leave the class out"
        )
    if absent:
        mean = "" if training else "; mIoU is over the others"
        print_log(f"{loader}: none of {maps} segmentation maps of {source} shows {some(absent)}{mean}")


def some(names: Sequence[str]) -> str:
    """Return the first five names and the number of the others."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")
