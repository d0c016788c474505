"""The catalog itself: what an entry says of a data set, and how entries are added and looked up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Part:
    """A training or validation set.

    Attributes:
        name: Name in the output of `data check`, such as 'train'.
        images: How many images are published.
        classes: How many classes are published, or None without labels.
        layouts: Configs of the data set that reads it, without data_root; the first one present is read.
    """

    name: str
    images: int
    classes: int | None
    layouts: tuple[dict, ...]


@dataclass(frozen=True)
class DatasetEntry:
    """A data set.

    Attributes:
        name: Name in commands, such as 'imagenet'.
        root: Folder that configs name, such as 'data/imagenet'.
        parts: Its training and validation sets.
        make_tiny: Function that writes a few images of every part, in the published layout, into a folder.
            `validate` trains on them. The generator gives the same numbers every time. None for a data set
            that this package makes.
        lists: Images in further lists, such as those of a share of the labels, by their file in `root`.
    """

    name: str
    root: str
    parts: tuple[Part, ...]
    make_tiny: Callable[[Path, np.random.Generator], None] | None
    lists: Mapping[str, int] = field(default_factory=dict)


CATALOG: dict[str, DatasetEntry] = {}
"""Every data set by name."""


def add_dataset(entry: DatasetEntry) -> DatasetEntry:
    """Add a data set to the catalog; a module that a config names in `custom_imports` may do so.

    Raises:
        ValueError: Where another data set has the name or the root.
    """
    if entry.name in CATALOG or entry.root in {known.root for known in CATALOG.values()}:
        raise ValueError(f"data set '{entry.name}' ({entry.root}): there is one of that name or root")
    CATALOG[entry.name] = entry
    return entry


def make_tiny(name: str, root: Path) -> None:
    """Write the tiny copy of a data set into a folder; the same bytes every time."""
    CATALOG[name].make_tiny(root, np.random.default_rng(0))


def published_images(dataset: Mapping) -> int | None:
    """Return how many images the data set of a config has, or None where the catalog does not know it.

    Args:
        dataset: Its config, with the data_root that configs name.
    """
    wanted = _sources(dataset)
    for entry in CATALOG.values():
        for part in entry.parts:
            if any(_sources({**layout, "data_root": entry.root}) == wanted for layout in part.layouts):
                return part.images
        for file, images in entry.lists.items():
            if wanted == {Path(entry.root, file)}:
                return images
    return None


def _sources(dataset: Mapping) -> set[Path]:
    """Return the file that lists the images of a data set, or their folders where no file does."""
    prefix = dataset.get("data_prefix") or dataset.get("split") or ""
    folders = list(prefix.values()) if isinstance(prefix, Mapping) else [prefix]
    root, lists = dataset.get("data_root") or ".", [dataset.get("ann_file")]
    return {Path(root, name or "") for name in (lists if any(lists) else folders)}
