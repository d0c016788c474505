"""Reading results/published: what papers and their authors' pages state, each value with its source.

One YAML file per table, of two keys: `sources` (key -> kind and citation) and `entries`. Needs no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.results.metrics import METRICS

VALUES = {
    **{name: metric.meaning for name, metric in METRICS.items() if metric.of_transfer},
    "miou": "mean IoU over classes at one scale, or at a scale that the source does not tell, %",
    "miou_ms": "mean IoU over classes, several scales and flips, %",
    "hours": "wall hours of the whole pretraining",
    "gpu_hours_per_epoch": "GPU hours of one epoch of pretraining",
    "gflops": "FLOPs of pretraining per image, G",
    "memory_gb": "GPU memory of pretraining, GB",
    "images_per_s": "images per second of pretraining",
    "speed_up": "times as fast as SimMIM's pretraining of the same backbone",
    "memory_saved": "GPU memory of pretraining saved against SimMIM, %",
}
"""Meaning and unit of every published value."""

KINDS = ("paper", "official-readme", "model-zoo", "third-party", "paper-review")
"""Kinds of source: the authors' first, others' reports of their values last."""

NUMBER = int | float
TYPES = {
    "method": str,
    "backbone": str,
    "dataset": str,
    "protocol": str,
    "values": dict,
    "source": str,
    "resolution": int,
    "window": int,
    "pretrain_data": str,
    "pretrain_epochs": int,
    "params_m": NUMBER,
    "flops_g": NUMBER,
    "schedule": str,
    "also": list,
    "why": str,
    "model": str,
    "shape": list,
    "pretrain": str,
}
NEEDED = ("method", "backbone", "dataset", "values")


@dataclass(frozen=True)
class Source:
    """Where a value stands: its key in the tables, its kind (`KINDS`), and the citation."""

    key: str
    kind: str
    cite: str


@dataclass(frozen=True)
class Other:
    """The same quantity by another source, which the tables do not show, and what it was run with."""

    values: dict[str, float]
    source: Source
    schedule: str | None = None


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        method: What the backbone was pretrained with; 'supervised' without masked images.
        backbone: As its source names it.
        dataset: What it is evaluated on.
        values: By name (`VALUES`); None where no source was found.
        source: Of the values, or None where all are None.
        protocol: What is done with the backbone, where a table holds several, such as 'linear probe'.
        resolution: Side of the images in pixels.
        window: Window of the attention in tokens.
        pretrain_data: What it was pretrained on.
        pretrain_epochs: For how long.
        params_m: Parameters as published, in millions.
        flops_g: FLOPs as published, in units of 1e9.
        schedule: What the source says of the training.
        also: What other sources say of the same.
        why: Why the tables show `source` and not those.
        model: What `mixmae-bench flops` counts for it here: a config, timm:NAME or mmpretrain:NAME.
        shape: Height and width of the images it is counted for, where not the model's own.
        pretrain: Config of the pretraining here.
    """

    method: str
    backbone: str
    dataset: str
    values: dict[str, float | None]
    source: Source | None = None
    protocol: str | None = None
    resolution: int | None = None
    window: int | None = None
    pretrain_data: str | None = None
    pretrain_epochs: int | None = None
    params_m: float | None = None
    flops_g: float | None = None
    schedule: str | None = None
    also: tuple[Other, ...] = field(default=())
    why: str | None = None
    model: str | None = None
    shape: tuple[int, int] | None = None
    pretrain: str | None = None

    @property
    def sources(self) -> list[Source]:
        """The source shown, then the others."""
        return ([self.source] if self.source else []) + [other.source for other in self.also]


def read_published(folder: Path) -> dict[str, list[Published]]:
    """Read every table of a folder, by the name of its file.

    Raises:
        UserError: Where there is none, or a file says something else than the format; names file, entry, key.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise UserError(f"{folder} holds no published values (*.yaml); run in a checkout of mixmae-bench")
    return {file.stem: list(_entries(file)) for file in files}


def _entries(path: Path) -> Iterator[Published]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or content.keys() != {"sources", "entries"}:
        raise UserError(f"{path} must be a mapping with the keys sources and entries")
    if not isinstance(content["sources"], dict) or not isinstance(content["entries"], list):
        raise UserError(f"{path}: sources must be a mapping and entries a list")
    sources = {
        key: _source(key, value, f"{path}: source '{key}'") for key, value in content["sources"].items()
    }
    for number, entry in enumerate(content["entries"], 1):
        name = f" ({entry.get('method')} {entry.get('backbone')})" if isinstance(entry, dict) else ""
        yield _entry(entry, sources, f"{path}: entry {number}{name}")


def _source(key: object, value: object, where: str) -> Source:
    if not isinstance(value, dict) or value.keys() != {"kind", "cite"}:
        raise UserError(f"{where} must have the keys kind and cite")
    if value["kind"] not in KINDS:
        raise UserError(f"{where}: kind is {value['kind']!r}; give one of {', '.join(KINDS)}")
    if not isinstance(value["cite"], str) or not value["cite"].strip():
        raise UserError(f"{where}: cite must say where the value stands, not {value['cite']!r}")
    return Source(str(key), value["kind"], value["cite"])


def _entry(entry: object, sources: dict[str, Source], where: str) -> Published:
    if not isinstance(entry, dict):
        raise UserError(f"{where} must be a mapping, not {entry!r}")
    for key, value in entry.items():
        if key not in TYPES:
            raise UserError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), TYPES)}")
        if not isinstance(value, TYPES[key]) or isinstance(value, bool):
            raise UserError(f"{where}: key '{key}' is {value!r}, which has the wrong type")
    for key in NEEDED:
        if key not in entry:
            raise UserError(f"{where}: key '{key}' is missing")
    values = _values(entry["values"], where)
    sourced = any(value is not None for value in values.values())
    if sourced != ("source" in entry):
        raise UserError(
            f"{where}: key 'source' is missing; give it, or null as the value"
            if sourced
            else f"{where}: key 'source' is given for no value; give the value, or leave the source out"
        )
    also = tuple(
        _other(other, sources, f"{where}, also {i}") for i, other in enumerate(entry.get("also", []), 1)
    )
    if any(_disagrees(other.values, values) for other in also) and "why" not in entry:
        raise UserError(f"{where}: sources disagree; say under key 'why' which is shown for what reason")
    shape = entry.get("shape")
    if shape is not None and (len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape)):
        raise UserError(f"{where}: key 'shape' is {shape!r}; give height and width in pixels")
    return Published(
        **{
            **entry,
            "values": values,
            "source": _known(entry["source"], sources, where) if sourced else None,
            "also": also,
            "shape": tuple(shape) if shape else None,
        }
    )


def _other(other: object, sources: dict[str, Source], where: str) -> Other:
    keys = {"values", "source", "schedule"}
    if not isinstance(other, dict) or not keys - {"schedule"} <= other.keys() <= keys:
        raise UserError(f"{where} must have the keys values and source, and may have schedule")
    values = _values(other["values"], where)
    if None in values.values():
        raise UserError(f"{where}: key 'values' is {values!r}; another source must give a number")
    return Other(values, _known(other["source"], sources, where), other.get("schedule"))


def _values(values: object, where: str) -> dict[str, float | None]:
    if not isinstance(values, dict) or not values:
        raise UserError(f"{where}: key 'values' must be a mapping of names to numbers, not {values!r}")
    for name, value in values.items():
        if name not in VALUES:
            near = did_you_mean(str(name), VALUES)
            raise UserError(f"{where}: key 'values' has an unknown name '{name}'.{near}")
        if value is not None and (not isinstance(value, NUMBER) or isinstance(value, bool)):
            raise UserError(f"{where}: key 'values', {name} is {value!r}; give a number, or null")
    return values


def _known(key: str, sources: dict[str, Source], where: str) -> Source:
    if key not in sources:
        near = did_you_mean(str(key), sources)
        raise UserError(f"{where}: key 'source' is '{key}', which is not in sources.{near}")
    return sources[key]


def _disagrees(others: dict[str, float], values: dict[str, float | None]) -> bool:
    return any(values.get(name) != value for name, value in others.items())
