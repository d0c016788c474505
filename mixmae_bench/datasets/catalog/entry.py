"""Entries of the catalog of data sets, and functions to add and look up entries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Part:
    """A training or validation set.

    Attributes:
        name: Name in the output of `data check`, such as 'train'.
        images: Published number of images.
        classes: Published number of classes, or None without labels.
        layouts: Configs of the data set class that reads it, without data_root, one per known layout of the
            files. The first layout with existing files is used.
        optional: Whether the part may be missing.
    """

    name: str
    images: int
    classes: int | None
    layouts: tuple[dict, ...]
    optional: bool = False

    def layout_in(self, folder: Path) -> dict:
        """Return the config of the first layout with existing files in a folder, or of the first layout."""
        known = [dict(layout, data_root=str(folder)) for layout in self.layouts]
        return next((layout for layout in known if not missing_paths(layout)), known[0])


@dataclass(frozen=True)
class DatasetEntry:
    """A data set.

    Attributes:
        name: Name in commands, such as 'imagenet'.
        root: The data_root in configs, such as 'data/imagenet'.
        parts: Its training and validation sets.
        make_tiny: Function that writes a few images of every part, in the published layout, into a folder.
            `validate` trains on them. The generator has a fixed seed. None for a data set that this package
            generates.
        lists: Number of images in further lists, such as subsets of the labels, by the list's path in `root`.
    """

    name: str
    root: str
    parts: tuple[Part, ...]
    make_tiny: Callable[[Path, np.random.Generator], None] | None
    lists: Mapping[str, int] = field(default_factory=dict)


def missing_paths(layout: Mapping) -> list[Path]:
    """Return the folders and lists of a data set's config that do not exist."""
    prefix = layout.get("data_prefix", "")
    names = [layout.get("ann_file", ""), *(prefix.values() if isinstance(prefix, Mapping) else [prefix])]
    paths = [Path(layout["data_root"], name) for name in names if name]
    return [path for path in paths if not path.exists()]


CATALOG: dict[str, DatasetEntry] = {}
"""Every data set by name."""


def add_dataset(entry: DatasetEntry) -> DatasetEntry:
    """Add a data set to the catalog; a module in a config's `custom_imports` may call this.

    Raises:
        ValueError: If another data set has the name or the root.
    """
    if entry.name in CATALOG or entry.root in {known.root for known in CATALOG.values()}:
        raise ValueError(f"data set '{entry.name}' ({entry.root}): there is one of that name or root")
    CATALOG[entry.name] = entry
    return entry


def make_tiny(name: str, root: Path) -> None:
    """Write the tiny copy of a data set into a folder; the bytes are always the same."""
    CATALOG[name].make_tiny(root, np.random.default_rng(0))


def published_images(dataset: Mapping) -> int | None:
    """Return the published number of images of a data set, or None if it is not in the catalog.

    Args:
        dataset: Config of the data set, with the catalog's data_root.
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
    """Return the annotation file of a data set, or its image folders if it has none."""
    prefix = dataset.get("data_prefix") or dataset.get("split") or ""
    folders = list(prefix.values()) if isinstance(prefix, Mapping) else [prefix]
    root, lists = dataset.get("data_root") or ".", [dataset.get("ann_file")]
    return {Path(root, name or "") for name in (lists if any(lists) else folders)}
