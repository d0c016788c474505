"""The data sets of a config's loaders, without their wrappers."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

SPLIT = "mixmae_bench.tuning_split"
"""Type of a data set with a part of the images of another one (see `datasets.tuning_split`)."""

TRAIN, TUNING = "train", "tuning"
"""Values of its argument `part`."""


class Leaf(NamedTuple):
    """A data set of a loader.

    Attributes:
        loader: Key of the loader, such as 'train_dataloader'.
        key: Key of the data set in the config, such as 'train_dataloader.dataset.dataset'.
        dataset: Its config.
        times: Passes over it per epoch (from RepeatDataset).
        share: Share of its images that are used (less than 1 with a tuning split).
    """

    loader: str
    key: str
    dataset: Mapping
    times: int
    share: float = 1.0


def leaves(cfg: Mapping) -> Iterator[Leaf]:
    """Yield the data sets of a config: those inside RepeatDataset, ConcatDataset and other wrappers."""
    for loader in LOADERS:
        dataset = (cfg.get(loader) or {}).get("dataset")
        if isinstance(dataset, Mapping) and dataset:
            yield from _leaves(loader, f"{loader}.dataset", dataset, 1, 1.0)


def _leaves(loader: str, key: str, dataset: Mapping, times: int, share: float) -> Iterator[Leaf]:
    repeats = dataset.get("times", 1)
    times *= repeats if isinstance(repeats, int) else 1
    if dataset.get("type") == SPLIT:
        share *= dataset["share"] if dataset["part"] == TUNING else 1 - dataset["share"]
    inside = wrapped(dataset)
    for name, part in inside.items():
        yield from _leaves(loader, f"{key}.{name}", part, times, share)
    if not inside:
        yield Leaf(loader, key, dataset, times, share)


def wrapped(dataset: Mapping) -> dict[str, Mapping]:
    """Return the data sets inside a wrapper by their keys; empty if the config is not a wrapper."""
    if isinstance(dataset.get("dataset"), Mapping):
        return {"dataset": dataset["dataset"]}
    if isinstance(dataset.get("datasets"), list | tuple):
        return {f"datasets.{number}": part for number, part in enumerate(dataset["datasets"])}
    return {}


def dicts(node: object) -> Iterator[dict]:
    """Yield every dict in a config's node, the node itself first."""
    if isinstance(node, Mapping):
        yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for value in node:
        yield from dicts(value)


def type_name(node: Mapping) -> str:
    """Return the class name in a config's dict, without scope or module."""
    kind = node.get("type", "")
    return (kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))).rpartition(".")[2]


def sample(items: list, most: int) -> list:
    """Return at most `most` of the items, evenly spaced, first and last included."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
