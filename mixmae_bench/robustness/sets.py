"""The evaluation sets, with checks of their data before any work."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mixmae_bench.datasets.catalog import CATALOG, Part, missing_paths
from mixmae_bench.datasets.lists import labels_of
from mixmae_bench.errors import UserError


@dataclass(frozen=True)
class EvaluationSet:
    """An evaluation set with complete data.

    Attributes:
        name: Name in `results.robustness.SETS`.
        parts: The parts whose files exist, each with the config of its data set, without a pipeline.
    """

    name: str
    parts: tuple[tuple[Part, dict], ...]


def find_set(name: str, data: Path | None = None) -> EvaluationSet:
    """Return an evaluation set after a check of its files, labels, and numbers of images and classes.

    Args:
        name: Name in `results.robustness.SETS`.
        data: Folder that contains the folder NAME; None for `data`.

    Raises:
        UserError: If a folder or a list is missing, a class is not one of the set, or the numbers of images
            or classes differ from the published ones.
    """
    folder = data / name if data else Path(CATALOG[name].root)
    if not folder.is_dir():
        raise UserError(
            f"data: {folder} does not exist; put {name} there, or give another folder with --data"
        )
    return EvaluationSet(name, tuple(_complete_parts(name, folder)))


def _complete_parts(name: str, folder: Path) -> Iterator[tuple[Part, dict]]:
    for part in CATALOG[name].parts:
        layout = part.layout_in(folder)
        missing = missing_paths(layout)
        if missing and part.optional:
            continue
        if missing:
            raise UserError(f"data: {missing[0]} does not exist; put it there (docs/robustness.md)")
        _check_counts(DATASETS.build(dataset_config(layout, [])), part, name, folder)
        yield part, layout


def dataset_config(layout: dict, pipeline: list) -> dict:
    """Return the config of a data set with a pipeline."""
    # The items are read once, so that serialising them gains nothing.
    return {**layout, "pipeline": pipeline, "serialize_data": False, "test_mode": True}


def _check_counts(dataset: BaseDataset, part: Part, name: str, folder: Path) -> None:
    labels = {label for number in range(len(dataset)) for label in labels_of(dataset.get_data_info(number))}
    for what, found, published in (
        ("images", len(dataset), part.images),
        ("classes", len(labels), part.classes),
    ):
        if found != published:
            raise UserError(
                f"data: {name}, {part.name}: {found:,} {what}, {published:,} are published; find the problem "
                f"with: mixmae-bench data check {name} {folder}"
            )
