"""Checks of a config's data before training: files, classes, labels, image sizes and ground truth."""

import contextlib
import copy
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from mixmae_bench.datasets.class_counts import Shown, check_shown, read_maps, some
from mixmae_bench.datasets.class_names import check_class_names
from mixmae_bench.datasets.coco import check_coco
from mixmae_bench.datasets.corrupt import LEAST, SHARE
from mixmae_bench.datasets.evaluators import check_coco_metric, coco_metrics, evaluator_of
from mixmae_bench.datasets.frames import check_frames, check_paths, image_loader
from mixmae_bench.datasets.leaves import Leaf, dicts, leaves, sample, type_name
from mixmae_bench.datasets.steps import check_loader
from mixmae_bench.errors import UserError

SKIPPING = ("mixmae_bench.LoadImage", "mixmae_bench.LoadSegMap")

MOST_FILES = 4000
"""Images per data set that are checked before training, evenly spaced; the rest are checked when loaded."""


def check_datasets(cfg: Config, processes: int | None = None) -> dict[str, int]:
    """Build the data sets of a config without their pipelines and check them before training.

    Each data set is read once per process, even if several configs use it. The headers of up to `MOST_FILES`
    images and up to `class_counts.MOST` segmentation maps are read per data set.

    Args:
        cfg: The config, after `config.find_data`.
        processes: Number of training processes (default: the world size).

    Returns:
        The number of images per loader (`train_dataloader`, ...).

    Raises:
        UserError: If a data set cannot be built or is empty; a label is out of range, or means different
            classes in training and validation; an annotation, map, image or evaluator file is missing,
            invalid or of another size; a class is missing, or a head has another number of classes; or a
            loader yields no batch. The message names the file.
    """
    heads = dict(_class_counts(cfg.to_dict()))
    parts: dict[str, list[tuple[Leaf, _Read]]] = {}
    for leaf in leaves(cfg):
        if "pipeline" in leaf.dataset:
            read = _read(leaf, cfg, heads)
            parts.setdefault(leaf.loader, []).append((leaf, read))
    read = [found for own in parts.values() for _, found in own]
    check_class_names([(found.source, found.folders) for found in read if found.folders])
    check_class_names([pair for found in read for pair in found.names])
    for loader, own in parts.items():
        for leaf, read in own:
            _check_heads(heads, leaf, read, cfg)
        _check_truth(cfg, loader, own)
        if shown := [read.shown for _, read in own if read.shown]:
            check_shown(loader, own[0][1].source, shown, own[0][1].classes or ())
        length = sum(leaf.times * round(leaf.share * read.images) for leaf, read in own)
        check_loader(cfg, loader, length, processes or get_world_size(), cfg.filename)
    return {loader: sum(read.images for _, read in own) for loader, own in parts.items()}


def allow_skips(cfg: Config) -> None:
    """Let the training set's LoadImage and LoadSegMap skip corrupt images, up to `max_corrupt_images`.

    Args:
        cfg: The config. Skipped files are listed in `corrupt-images.txt` in its `work_dir`. Its
            `max_corrupt_images` is a fraction of the images (default 0.001); up to 10 files may always be
            skipped.

    Raises:
        UserError: See `check_datasets`.
    """
    images = check_datasets(cfg).get("train_dataloader")
    if images is None:
        return
    limit = max(LEAST, int(cfg.get("max_corrupt_images", SHARE) * images))
    skips = dict(file=str(Path(cfg.work_dir) / "corrupt-images.txt"), limit=limit)
    for transform in dicts(cfg.train_dataloader.dataset):
        if transform.get("type") in SKIPPING:
            transform["skips"] = skips


class _Label(NamedTuple):
    label: int
    image: str
    source: str


@dataclass(frozen=True)
class _Read:
    """The contents of a data set.

    Attributes:
        source: Its annotation file or folders.
        file: Its annotation file, or ''.
        images: Number of images.
        ids: Image IDs of a COCO data set; else empty.
        classes: Class names in its metainfo, or None.
        names: Pairs of a source of class names (for messages) and the names in the order of the labels.
        folders: Names of the class folders in the order of the labels; empty if labels come from a file.
        highest: The highest label, or None without labels.
        shown: Classes in its segmentation maps, or None without maps.
    """

    source: str
    file: str
    images: int
    ids: frozenset
    classes: tuple[str, ...] | None
    names: tuple[tuple[str, tuple[str, ...]], ...]
    folders: tuple[str, ...]
    highest: _Label | None
    shown: Shown | None


_READ: dict[str, _Read] = {}
"""Data sets that were read, by their settings and the size and modification time of the annotation file."""


def _read(leaf: Leaf, cfg: Config, heads: Mapping[str, int]) -> _Read:
    """Build a data set and check it; return the cached result if it was read before."""
    scope = cfg.get("default_scope")
    settings = copy.deepcopy({key: value for key, value in leaf.dataset.items() if key != "pipeline"})
    settings.setdefault("_scope_", scope)
    pipeline = leaf.dataset["pipeline"]
    prefix = leaf.dataset.get("data_prefix")
    place = leaf.dataset.get("ann_file") or (prefix if isinstance(prefix, str) else "")
    file = Path(leaf.dataset.get("data_root") or ".", place)
    stamp = (file.stat().st_mtime_ns, file.stat().st_size) if file.is_file() else None
    training = leaf.loader == "train_dataloader"
    metrics = coco_metrics(cfg, leaf.loader)
    labelled = not metrics or not all(metric.get("format_only") for metric in metrics)
    head = next((count for name, count in heads.items() if "decode_head" in name), None)
    key = json.dumps(
        [settings, pipeline, stamp, training, labelled, scope, head], default=str, sort_keys=True
    )
    if key in _READ:
        return _READ[key]
    where = f"{leaf.key} of {cfg.filename}"
    masks = any(step.get("with_mask") for step in dicts(pipeline))
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            dataset: BaseDataset = DATASETS.build(dict(settings, pipeline=[], serialize_data=False))
    except UserError:
        raise
    except Exception as error:  # any reader of any format
        no_json = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
        if "coco" in type_name(settings).lower() and file.is_file() and not no_json:
            check_coco(file, masks, evaluated=False)  # raises an error that names the annotation
        reason = " ".join(str(error).split())
        raise UserError(f"data: {file} ({where}) cannot be read: {type(error).__name__}: {reason}") from error
    source = dataset.ann_file or ", ".join(
        sorted({prefix for prefix in dataset.data_prefix.values() if prefix})
    )
    if not len(dataset):
        raise UserError(f"data: {source} has no image that indices and filter_cfg of the config keep")
    classes = dataset.metainfo.get("classes")
    names = [(f"{leaf.key}.metainfo.classes", tuple(classes))] if classes else []
    if _is_coco(dataset):
        names.append((f"{leaf.key} ({source})", _check_coco_set(dataset, masks, labelled)))
    folders = getattr(dataset, "folder_to_idx", None) or {}
    highest = _check_labels(dataset, source)
    loader = image_loader(pipeline)
    skips = training and type_name(loader or {}) == "LoadImage"
    if loader and not loader.get("backend_args") and not leaf.dataset.get("backend_args"):
        chosen = sample(dataset.data_list, MOST_FILES)
        check_paths(chosen, source, skips)
        check_frames(chosen, loader, skips)
    shown = read_maps(dataset, pipeline, loader, len(classes) if classes else head, scope, skips)
    ids = frozenset(item["img_id"] for item in dataset.data_list) if _is_coco(dataset) else frozenset()
    _READ[key] = _Read(
        source,
        dataset.ann_file or "",
        len(dataset),
        ids,
        tuple(classes) if classes else None,
        tuple(names),
        tuple(sorted(folders, key=folders.get)),
        highest,
        shown,
    )
    return _READ[key]


def _is_coco(dataset: BaseDataset) -> bool:
    names = {kind.__name__ for kind in type(dataset).__mro__}
    return "CocoDataset" in names and "CocoPanopticDataset" not in names


def _check_labels(dataset: BaseDataset, source: str) -> _Label | None:
    """Check that labels are in range; return the highest, or None without labels."""
    classes, highest = dataset.metainfo.get("classes"), None
    for item in dataset.data_list:
        if not isinstance(item.get("gt_label"), int):
            continue
        label = _Label(item["gt_label"], item.get("img_path", "an image"), source)
        if label.label < 0 or (classes and label.label >= len(classes)):
            known = f"; classes are 0 to {len(classes) - 1}" if classes else ", which is below 0"
            raise UserError(f"data: {source} gives {label.image} label {label.label}{known}")
        highest = max(highest or label, label)
    return highest


def _check_coco_set(dataset: BaseDataset, masks: bool, labelled: bool) -> tuple[str, ...]:
    """Check a COCO data set; return its class names in the order of the file, which the labels follow."""
    file, classes = dataset.ann_file, dataset.metainfo["classes"]
    content = check_coco(file, masks, evaluated=False)
    if len(dataset.cat_ids) != len(classes):
        raise UserError(  # mmdet drops classes that are missing from the file without a warning
            f"data: {file} has {len(dataset.cat_ids)} of the {len(classes)} classes ({classes[0]}, ...) as "
            "categories; set the data set's metainfo.classes to their names"
        )
    if labelled and not any(item["instances"] for item in dataset.data_list):
        raise UserError(f"data: {file} has no usable annotation of any of its {len(dataset)} images")
    return tuple(content.names[category] for category in dataset.cat_ids)


def _check_heads(heads: Mapping[str, int], leaf: Leaf, read: _Read, cfg: Config) -> None:
    where = f"{leaf.key} of {cfg.filename}"
    for head, count in heads.items():
        if read.classes and count != len(read.classes):
            raise UserError(
                f"data: {where} has {len(read.classes)} classes, and {head} is {count}; change one of them"
            )
        if not read.classes and read.highest and read.highest.label >= count:
            raise UserError(
                f"data: {read.highest.source} gives {read.highest.image} label {read.highest.label}, "
                f"and {head} is {count}; change one of them"
            )


def _check_truth(cfg: Config, loader: str, own: Sequence[tuple[Leaf, _Read]]) -> None:
    """Check that the evaluator of a loader uses the annotations of the loader."""
    where = f"{evaluator_of(loader)} of {cfg.filename}"
    for metric in coco_metrics(cfg, loader):
        loaded = frozenset().union(*(read.ids for _, read in own))
        files = [read.file for _, read in own]
        truth = check_coco_metric(metric, where, files, loaded, own[0][0].dataset["pipeline"])
        if truth:
            names = own[0][1].names
            told = tuple(name for name in truth.names.values() if name in (own[0][1].classes or ()))
            check_class_names([*names, (f"{where} ({truth.path})", told)])
            if absent := [name for name in truth.empty if name in told]:
                print_log(
                    f"{where}: {truth.path} has no object of {some(absent)}; AP is over the other classes"
                )


def _class_counts(cfg: dict) -> Iterator[tuple[str, int]]:
    """Yield the key and value of every `num_classes` of the heads and the data preprocessor.

    RPN heads are left out, and semantic heads of detectors too: these predict COCO's stuff classes as well.
    """

    def walk(node: object, key: str) -> Iterator[tuple[str, int]]:
        for name, value in node.items() if isinstance(node, Mapping) else ():
            told = "head" in key or "preprocessor" in key
            if (
                name == "num_classes"
                and told
                and "rpn" not in key
                and "semantic" not in key
                and isinstance(value, int)
            ):
                yield f"{key}.{name}", value
            yield from walk(value, f"{key}.{name}")
        for number, value in enumerate(node if isinstance(node, list | tuple) else ()):
            yield from walk(value, f"{key}.{number}")

    for key in ("model", "data_preprocessor"):
        yield from walk(cfg.get(key), key)
