"""What is found in a user's folder: a data set, with the facts that are printed."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from mixmae_bench.datasets.frames import THREADS
from mixmae_bench.datasets.leaves import sample
from mixmae_bench.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Endings of images, in any case."""

TRAIN = ("train", "training", "train2017")
VAL = ("val", "valid", "validation", "val2017", "test")
"""Names of the folders of a split, in lower case, the preferred first."""

SHARE, SEED = 0.2, 0
"""Share of the images, and seed of their choice, if no validation images are given."""

MOST = 2000
"""Images per data set with headers that are read, evenly spaced."""

MODES = {"L": "greyscale", "LA": "greyscale", "RGBA": "with alpha (ignored)", "P": "with a palette"}
"""Descriptions of Pillow's modes other than RGB."""


@dataclass(frozen=True)
class Found:
    """A data set.

    Attributes:
        train: Config of the training data, without its pipeline.
        val: Config of the validation data, or None if they are split off the training data.
        classes: Names of the classes in the order of the labels.
        images: Number of training and of validation images.
        size: Median height and width of the images in pixels.
        facts: Lines that describe the data set.
        masks: Whether every object has a mask; for detection.
    """

    train: dict
    val: dict | None
    classes: tuple[str, ...]
    images: tuple[int, int]
    size: tuple[int, int]
    facts: tuple[str, ...]
    masks: bool = False


def folder_of(parent: Path, names: Sequence[str]) -> Path | None:
    """Return the first subfolder with one of the names, which are in lower case, or None."""
    own = {path.name.lower(): path for path in sorted(parent.iterdir()) if path.is_dir()}
    return next((own[name] for name in names if name in own), None)


def image_files(folder: Path) -> list[Path]:
    """Return the images in a folder and its subfolders, without hidden ones, sorted."""
    found = []
    for root, _, names in os.walk(folder, followlinks=True):
        found += [Path(root, name) for name in names if is_image(name)]
    return sorted(found)


def is_image(name: str) -> bool:
    """Return whether a file name is that of an image."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def split_counts(chosen: int, total: int, where: Path) -> tuple[int, int]:
    """Return the numbers of training and validation images of a split.

    Args:
        chosen: Number of the validation images.
        total: Number of all images.
        where: The data, for the message.

    Raises:
        UserError: If a part has no image.
    """
    if not 0 < chosen < total:
        raise UserError(
            f"data: {where} has {total} images, too few to split off {SHARE:.0%} for validation; add images, "
            "or give folders train and val"
        )
    return total - chosen, chosen


def split_fact(how: str) -> str:
    """Return the line about validation images that are split off; `how` describes the choice."""
    return f"split: no validation images given; {SHARE:.0%} are split off, {how} (seed {SEED})"


def counts_fact(images: tuple[int, int], more: str = "") -> str:
    """Return the line with the numbers of images."""
    return f"images: {images[0]} train, {images[1]} val{more}"


def look(files: Sequence[Path]) -> tuple[tuple[int, int], str]:
    """Read the headers of at most `MOST` images.

    Returns:
        The median height and width, and a line with sizes and unusual formats.

    Raises:
        UserError: At the first image that is missing or cannot be read.
    """
    chosen = sample(list(files), MOST)
    with ThreadPool(THREADS) as pool:
        heads = list(pool.imap(_head, chosen, 64))
    sizes = np.array([size for size, _ in heads])
    median = tuple(int(side) for side in np.median(sizes, axis=0).round())
    least, most = sizes[sizes.prod(1).argmin()], sizes[sizes.prod(1).argmax()]
    text = f"sizes: {_size(median)} (median)"
    if (least != most).any():
        text += f", {_size(least)} to {_size(most)}"
    modes = Counter(mode for _, mode in heads if mode)
    text += "".join(f"; {count} {mode}" for mode, count in modes.most_common())
    if len(chosen) < len(files):
        text += f" ({len(chosen)} of {len(files)} images read)"
    return median, text


def _head(file: Path) -> tuple[tuple[int, int], str]:
    try:
        with Image.open(file) as image:
            mode = "with 16 bits (the high 8 are used)" if image.mode.startswith(("I", "F")) else ""
            return (image.height, image.width), MODES.get(image.mode, mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"data: {file} cannot be read as an image; repair or remove it") from error


def _size(size: Sequence[int]) -> str:
    return f"{size[1]}x{size[0]} px"
