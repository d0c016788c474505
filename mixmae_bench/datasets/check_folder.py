"""`mixmae-bench data check`: check that a data set is complete and readable."""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mixmae_bench.datasets.catalog import CATALOG, Part, missing_paths
from mixmae_bench.datasets.images import LoadImage
from mixmae_bench.datasets.lists import labels_of
from mixmae_bench.datasets.seg_maps import IGNORED, LoadSegMap
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.system.environment import cores
from mixmae_bench.system.files import write_atomically

EXAMPLES = 10
FILES_AT_A_TIME = 64
QUICK_THREADS = 16


@dataclass
class Found:
    """The contents of one part of a data set, and its problems."""

    part: Part
    images: int = 0
    classes: int | None = None
    problems: list[str] = field(default_factory=list)


def check_data(name: str, folder: Path, quick: bool, listing: Path, console: Console) -> int:
    """Compare a data set with the published counts, read every file, and print a table and some problems.

    Args:
        name: Name in the catalog.
        folder: Folder of the data set.
        quick: Whether to check only that files exist and are not empty.
        listing: Output file for all problems; not written if there are none.
        console: Console to print to.

    Returns:
        The number of problems.

    Raises:
        UserError: If the name is unknown or the folder does not exist.
    """
    if name not in CATALOG:
        raise UserError(
            f"data set '{name}' is not known; known: {', '.join(CATALOG)}.{did_you_mean(name, CATALOG)}"
        )
    if not folder.is_dir():
        raise UserError(f"folder {folder} does not exist; check the path")
    parts = [
        _check_part(part, folder, quick, console)
        for part in CATALOG[name].parts
        if not (part.optional and missing_paths(part.layout_in(folder)))
    ]
    console.print(_table(name, parts))
    problems = [f"{found.part.name}: {problem}" for found in parts for problem in found.problems]
    for problem in problems[:EXAMPLES]:
        console.print(problem, markup=False, highlight=False, soft_wrap=True)
    if problems:
        write_atomically(listing, "\n".join(problems) + "\n")
        console.print(
            f"{len(problems)} problems, all in {listing}", markup=False, highlight=False, soft_wrap=True
        )
    else:
        console.print("no problem found" + (" (files were not decoded)" if quick else ""))
    return len(problems)


def _check_part(part: Part, folder: Path, quick: bool, console: Console) -> Found:
    found = Found(part)
    layout = part.layout_in(folder)
    if missing := missing_paths(layout):
        found.problems += [f"{path}: No such file or folder" for path in missing]
        return found
    try:
        with contextlib.redirect_stdout(io.StringIO()), console.status(f"{part.name}: reading the lists"):
            dataset = DATASETS.build(dict(layout, pipeline=[], serialize_data=False))
    except UserError as error:
        found.problems.append(str(error).removeprefix("data: "))
        return found
    except Exception as error:  # any reader of any format
        reason = " ".join(str(error).split())
        source = folder / layout.get("ann_file", "")
        found.problems.append(f"{source} cannot be read: {type(error).__name__}: {reason}")
        return found

    found.images = len(dataset)
    labels = set()
    for problem, some in _looks(dataset, part, quick, console):
        labels |= some
        found.problems += [problem] if problem else []
    seen_only_decoded = quick and found.images and dataset[0].get("seg_map_path")
    if part.classes is not None and not seen_only_decoded:
        found.classes = len(getattr(dataset, "cat_ids", labels))
    if found.images != part.images:
        found.problems.insert(0, f"{found.images:,} images, {part.images:,} are published")
    if found.classes is not None and found.classes != part.classes:
        found.problems.insert(0, f"{found.classes:,} classes, {part.classes:,} are published")
    return found


def _looks(
    dataset: BaseDataset, part: Part, quick: bool, console: Console
) -> Iterator[tuple[str | None, set[int]]]:
    """Yield the problem of every image, or None, and the classes in it."""
    items = (dataset.get_data_info(number) for number in range(len(dataset)))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = dict(console=console, transient=True, disable=not console.is_terminal)
    with Progress(*columns, **shown) as progress:
        task = progress.add_task(f"{part.name}: files", total=len(dataset))
        # The quick check is bound by the disk, decoding by the CPU; OpenCV releases the GIL.
        with ThreadPool(QUICK_THREADS if quick else cores()) as pool:
            look = partial(_look, classes=part.classes, quick=quick)
            for result in pool.imap(look, items, FILES_AT_A_TIME):
                progress.advance(task)
                yield result


class _Note:
    """Replaces CorruptImages: stores the problem of one image."""

    problem: str | None = None

    def add(self, path: str, reason: str) -> None:
        self.problem = f"{path}: {reason}"


def _look(item: dict, classes: int | None, quick: bool) -> tuple[str | None, set[int]]:
    labels = labels_of(item)
    if "img" in item:  # CIFAR: already read by load_data_list
        return None, labels
    seg_map = item.get("seg_map_path")
    if quick:
        for path in filter(None, (item["img_path"], seg_map)):
            if not os.path.isfile(path):
                return f"{path}: No such file", labels
            if not os.path.getsize(path):
                return f"{path}: the file is empty", labels
        return None, labels
    note = _Note()
    for loader in [LoadImage(), LoadSegMap(classes)] if seg_map else [LoadImage()]:
        loader.skips = note
        if loader(item) is None:
            return note.problem, labels
    if seg_map:
        labels = set(np.unique(item["gt_seg_map"]).tolist()) - {IGNORED}
    return None, labels


def _table(name: str, parts: list[Found]) -> Table:
    table = Table(title=name)
    for column in ("part", "images", "published", "classes", "published", "problems"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for found in parts:
        numbers = (found.images, found.part.images, found.classes, found.part.classes, len(found.problems))
        texts = ["-" if number is None else f"{number:,}" for number in numbers]
        table.add_row(found.part.name, *texts)
    return table
