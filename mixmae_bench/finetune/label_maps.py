"""Segmentation data: images and PNG label maps, in train and val or without a split."""

from collections import Counter
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from mixmae_bench.datasets.class_counts import some
from mixmae_bench.datasets.lists import read_lines
from mixmae_bench.datasets.seg_maps import IGNORED, read_labels
from mixmae_bench.datasets.tuning_split import tuning_images
from mixmae_bench.errors import UserError
from mixmae_bench.finetune.found import (
    SEED,
    SHARE,
    TRAIN,
    VAL,
    Found,
    counts_fact,
    folder_of,
    image_files,
    look,
    split_counts,
    split_fact,
)
from mixmae_bench.system.environment import cores

IMAGES = ("images", "image", "imgs", "img", "jpegimages")
MAPS = ("annotations", "masks", "mask", "maps", "labels", "label", "segmentationclass")
"""Names of folders in lower case."""

NAMES = "classes.txt"
LAYOUT = (
    "expected images/train, images/val, masks/train and masks/val; train/images, train/masks, ...; or images "
    "and masks, with maps in PNG files of the images' names"
)


def find_segmentation(root: Path) -> Found:
    """Find images and label maps.

    Raises:
        UserError: If there are none, an image has no map, images have several endings, or the values of the
            maps are not class indices.
    """
    train, val = _folders(root)
    pairs = [_pairs(*folders) for folders in (train, val) if folders]
    maps = [file for _, own, _ in pairs for file in own]
    classes, named = _classes(root, maps)
    if val:
        images, notes = (len(pairs[0][0]), len(pairs[1][0])), ["split: train and val, as given"]
    else:
        total = len(pairs[0][0])
        images = split_counts(len(tuning_images([None] * total, SHARE, SEED)), total, train[0])
        notes = [split_fact("at random")]
    if images[0] < 2:
        raise UserError(f"data: {train[0]} has one training image; segmentation needs two or more")
    if unused := sum(more for _, _, more in pairs):
        notes.append(f"note: {unused} maps have no image and are not used")
    size, looks = look([file for own, _, _ in pairs for file in own])
    facts = (
        f"data: {root}: images and label maps ({train[0].name}, {train[1].name})",
        f"classes: {len(classes)} ({some(classes)}), {named}; value {IGNORED} is ignored",
        counts_fact(images),
        *notes,
        looks,
    )
    configs = [
        _config(root, *folders, own[0].suffix, classes)
        for folders, (own, _, _) in zip(filter(None, (train, val)), pairs, strict=True)
    ]
    return Found(configs[0], configs[1] if val else None, classes, images, size, facts)


def _folders(root: Path) -> tuple[tuple[Path, Path], tuple[Path, Path] | None]:
    """Return the folders of images and maps of training, and of validation if there are."""
    inside = {split: folder_of(root, split) for split in (TRAIN, VAL)}
    if inside[TRAIN]:  # train/images, train/masks
        parts = [_images_and_maps(folder) for folder in inside.values() if folder]
    else:
        images, maps = _images_and_maps(root)
        own = {split: (folder_of(images, split), folder_of(maps, split)) for split in (TRAIN, VAL)}
        for split, (one, other) in own.items():
            if bool(one) != bool(other):
                raise UserError(
                    f"data: {one or other} exists, but {maps if one else images} has no folder {split[0]}; "
                    f"{LAYOUT}"
                )
        parts = [pair for pair in own.values() if all(pair)] if all(own[TRAIN]) else [(images, maps)]
    return parts[0], parts[1] if len(parts) > 1 else None


def _images_and_maps(folder: Path) -> tuple[Path, Path]:
    images, maps = folder_of(folder, IMAGES), folder_of(folder, MAPS)
    if not (images and maps):
        lacks = "images" if not images else "label maps"
        raise UserError(f"data: {folder} has no folder of {lacks}; {LAYOUT}")
    return images, maps


def _pairs(images: Path, maps: Path) -> tuple[list[Path], list[Path], int]:
    """Return the images, their maps, and the number of maps without an image."""
    files = image_files(images)
    if not files:
        raise UserError(f"data: {images} has no image; {LAYOUT}")
    endings = Counter(file.suffix for file in files)
    if len(endings) > 1:
        counts = ", ".join(f"{ending}: {count}" for ending, count in endings.most_common())
        raise UserError(
            f"data: images in {images} have several endings ({counts}), and mmseg reads one; rename or "
            "convert them"
        )
    wanted = [maps / file.relative_to(images).with_suffix(".png") for file in files]
    missing = [(file, own) for file, own in zip(files, wanted, strict=True) if not own.is_file()]
    if missing:
        raise UserError(
            f"data: {len(missing)} of {len(files)} images have no label map: {missing[0][0]} needs "
            f"{missing[0][1]}; add the maps, or remove the images"
        )
    return files, wanted, len({*maps.rglob("*.png")} - {*wanted})


def _classes(root: Path, maps: Sequence[Path]) -> tuple[tuple[str, ...], str]:
    """Return the names of the classes, and where they are from."""
    listed = root / NAMES
    if listed.is_file():
        names = tuple(read_lines(str(listed)))
        if len(set(names)) < len(names) or len(names) < 2:
            raise UserError(f"data: {listed} must have two or more different names, one per line")
        return names, f"named in {NAMES}"
    values = _values(maps)
    gaps = sorted(set(range(max(values, default=0) + 1)) - values)
    if len(values) < 2 or gaps:
        shown = ", ".join(map(str, sorted(values)[:8])) or "none"
        raise UserError(
            f"data: the {len(maps)} maps have the values {shown} ({IGNORED} is ignored); a map holds class "
            "indices, 0, 1, 2, ... without gaps, and two classes or more: correct the maps"
        )
    return tuple(f"class {value}" for value in sorted(values)), f"counted in all {len(maps)} maps"


def _values(maps: Sequence[Path]) -> set[int]:
    with ThreadPool(cores()) as pool:
        found = pool.imap(_values_of, maps, 16)
        return set().union(*found) - {IGNORED}


def _values_of(file: Path) -> set[int]:
    try:
        return set(np.unique(read_labels(file.read_bytes(), None, False)).tolist())
    except (OSError, ValueError) as error:
        raise UserError(f"data: {file} cannot be used: {error}") from error


def _config(root: Path, images: Path, maps: Path, suffix: str, classes: tuple[str, ...]) -> dict:
    prefix = dict(img_path=str(images.relative_to(root)), seg_map_path=str(maps.relative_to(root)))
    return dict(
        type="BaseSegDataset",
        data_root=str(root),
        data_prefix=prefix,
        img_suffix=suffix,
        seg_map_suffix=".png",
        metainfo=dict(classes=classes),
    )
