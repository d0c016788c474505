"""Reading of results/published: values from papers and authors' pages, each with its source.

There is one YAML file per table, with two keys: `sources` (key -> kind, citation and address) and `entries`.
Does not import torch.
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
    "gpu_hours": "GPU hours of the whole pretraining",
    "gpu_hours_per_epoch": "GPU hours of one epoch of pretraining",
    "gflops": "FLOPs of pretraining per image, G",
    "memory_gb": "GPU memory of pretraining, GB",
    "images_per_s": "images per second of pretraining",
    "speed_up": "times as fast as SimMIM's pretraining of the same backbone",
    "memory_saved": "GPU memory of pretraining saved against SimMIM, %",
}
"""Meaning and unit of every published value."""

KINDS = ("paper", "official-readme", "model-zoo", "third-party", "paper-review")
"""Kinds of source: authors' own first, then reports by others."""

FORM = "sources must be a mapping of mappings, and entries a list of mappings"

Number = int | float
Pixels = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=STRICT)
class Source:
    """A source: its key in the tables, its kind (`KINDS`), the citation with its table, and the address."""

    key: str
    kind: Annotated[Literal[KINDS], Field(description=f"kind is {{!r}}; give one of {', '.join(KINDS)}")]
    cite: Annotated[str, Field(pattern=r"\S", description="cite must be a citation of the source, not {!r}")]
    url: Annotated[str, Field(pattern=r"^https?://\S+$", description="url must be an address, not {!r}")]


@dataclass(frozen=True, config=STRICT)
class Other:
    """Values of the same row in another source, which the tables do not show, and their training schedule."""

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
        method: Pretraining method; 'supervised' without masked image modelling.
        backbone: Backbone, named as in the source, with one spelling in all rows.
        dataset: Data set of the evaluation.
        values: Values by name (see `VALUES`); None if no source was found.
        source: Source of the values, or None if all are None.
        protocol: Evaluation protocol, such as 'linear probe', if the table has several.
        resolution: Side of the images in pixels.
        window: Window of the attention in tokens.
        pretrain_data: Data set of the pretraining.
        pretrain_epochs: Epochs of the pretraining.
        params_m: Published number of parameters, in millions.
        flops_g: Published FLOPs, in units of 1e9.
        schedule: Training schedule in the source.
        also: Values in other sources.
        why: Reason why the tables show `source` and not the others, or how another row or source disagrees.
        model: Model that `mixmae-bench flops` counts: a config, timm:NAME or mmpretrain:NAME.
        shape: Height and width of the images for the count, if not the model's default.
        pretrain: Config of the pretraining in this repository.
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
        """The source of `values`, then the sources of `also`."""
        return ([self.source] if self.source else []) + [other.source for other in self.also]


class _Table(BaseModel, strict=True):
    """The content of a file."""

    sources: dict[str, dict] = Field(description=FORM)
    entries: list[dict] = Field(description=FORM)


def read_published(folder: Path) -> dict[str, list[Published]]:
    """Return every table of a folder by the name of its file.

    Raises:
        UserError: If there is no table, or a file has another format. The message names file, entry and key.
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
        raise UserError(f"{where}: key 'source' is given without a value; give a value, or remove the source")
    disagree = any(row.values.get(name) != value for own in row.also for name, value in own.values.items())
    if disagree and row.why is None:
        raise UserError(f"{where}: sources disagree; state under key 'why' which is shown and why")
    return row


def _row(kind: type[T], content: object, sources: dict[str, Source], where: str) -> T:
    """Return a row, with the key of its source replaced by the source."""
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
