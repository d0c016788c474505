"""Reading results/published: what papers and their authors' pages state, each value with its source.

One YAML file per table, of two keys: `sources` (key -> kind and citation) and `entries`. Needs no torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field
from pydantic.dataclasses import dataclass

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.system.typed import STRICT, read_yaml, typed

T = TypeVar("T")

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

FORM = "sources must be a mapping of mappings, and entries a list of mappings"

Number = int | float
Pixels = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=STRICT)
class Source:
    """Where a value stands: its key in the tables, its kind (`KINDS`), and the citation."""

    key: str
    kind: Annotated[Literal[KINDS], Field(description=f"kind is {{!r}}; give one of {', '.join(KINDS)}")]
    cite: Annotated[str, Field(pattern=r"\S", description="cite must say where the value stands, not {!r}")]


@dataclass(frozen=True, config=STRICT)
class Other:
    """The same quantity by another source, which the tables do not show, and what it was run with."""

    values: Annotated[
        dict[str, Number],
        Field(min_length=1, description="key 'values' is {!r}; another source must give numbers by name"),
    ]
    source: Source
    schedule: str | None = None


@dataclass(frozen=True, config=STRICT)
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
    values: Annotated[
        dict[str, Number | None],
        Field(
            min_length=1, description="key 'values' must be a mapping of names to numbers or null, not {!r}"
        ),
    ]
    source: Source | None = None
    protocol: str | None = None
    resolution: int | None = None
    window: int | None = None
    pretrain_data: str | None = None
    pretrain_epochs: int | None = None
    params_m: Number | None = None
    flops_g: Number | None = None
    schedule: str | None = None
    also: tuple[Other, ...] = ()
    why: str | None = None
    model: str | None = None
    shape: Annotated[tuple[Pixels, Pixels], Field(strict=False)] | None = Field(
        None, description="key 'shape' is {!r}; give height and width in pixels"
    )
    pretrain: str | None = None

    @property
    def sources(self) -> list[Source]:
        """The source shown, then the others."""
        return ([self.source] if self.source else []) + [other.source for other in self.also]


class _Table(BaseModel, strict=True):
    """Keys of a file."""

    sources: dict[str, dict] = Field(description=FORM)
    entries: list[dict] = Field(description=FORM)


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
    table = typed(_Table, read_yaml(path, str(path)), str(path))
    sources = {
        key: typed(Source, {**value, "key": key}, f"{path}: source '{key}'")
        for key, value in table.sources.items()
    }
    for number, entry in enumerate(table.entries, 1):
        where = f"{path}: entry {number} ({entry.get('method')} {entry.get('backbone')})"
        yield _entry(entry, sources, where)


def _entry(entry: dict, sources: dict[str, Source], where: str) -> Published:
    also = entry.get("also")
    if isinstance(also, list):
        others = (_row(Other, other, sources, f"{where}, also {i}") for i, other in enumerate(also, 1))
        entry = {**entry, "also": tuple(others)}
    row = _row(Published, entry, sources, where)
    sourced = any(value is not None for value in row.values.values())
    if sourced and not row.source:
        raise UserError(f"{where}: key 'source' is missing; give it, or null as the value")
    if row.source and not sourced:
        raise UserError(
            f"{where}: key 'source' is given for no value; give the value, or leave the source out"
        )
    disagree = any(row.values.get(name) != value for own in row.also for name, value in own.values.items())
    if disagree and row.why is None:
        raise UserError(f"{where}: sources disagree; say under key 'why' which is shown for what reason")
    return row


def _row(kind: type[T], content: object, sources: dict[str, Source], where: str) -> T:
    """Return values with their source, which the file names by its key."""
    if isinstance(content, dict) and "source" in content:
        key = str(content["source"])
        if key not in sources:
            near = did_you_mean(key, sources)
            raise UserError(f"{where}: key 'source' is '{key}', which is not in sources.{near}")
        content = {**content, "source": sources[key]}
    row = typed(kind, content, where)
    for name in row.values:
        if name not in VALUES:
            near = did_you_mean(name, VALUES)
            raise UserError(f"{where}: key 'values' has an unknown name '{name}'.{near}")
    return row
