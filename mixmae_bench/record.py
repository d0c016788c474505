"""One record per run: what was run, from what, on what, and what came out. Needs no torch."""

import json
import os
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, TypeVar, get_args, get_origin

from filelock import FileLock

from mixmae_bench.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

SCHEMA = 4
"""Version of the record's fields; raise it with every change of their meaning."""


@dataclass(frozen=True)
class Record:
    """The outcome of one cell of a suite, one JSON line in `records.jsonl`.

    Attributes:
        schema: Version of these fields.
        suite: Name of the suite.
        suite_version: Its version.
        method: What the backbone starts from: 'scratch' or a pretraining method's name.
        backbone: Type and architecture of the backbone.
        task: 'pretraining', 'classification', 'detection' or 'segmentation'.
        dataset: Name of the data the task is run on.
        seed: Seed of everything random in this run.
        key: Hash of all that decides the outcome: config, data, seed, and what the backbone starts from.
        start: Where the backbone's weights come from: 'random', 'checkpoint' (a given file), or the task of
            the run before: 'pretraining', or 'classification' with intermediate fine-tuning.
        parent: `key` of that run, or None.
        metrics: Values by name, in the unit of `METRICS`.
        errors: Standard errors of metrics over the images they are computed on, by the same names: binomial
            for top-1, bootstrap for AP and mIoU. The spread over seeds is another thing, in no single record.
        resamples: Resamples of the bootstrap, or 0 without one.
        losses: Mean training loss of every epoch, in order.
        grad_norms: The same of the gradient's 2-norm over all parameters, before clipping; steps that loss
            scaling left out are not in it.
        num_samples: Images that the metrics are computed on.
        params: Trainable and frozen parameters of the whole model.
        backbone_params: The same of the backbone.
        flops: FLOPs of a forward pass of the whole model per image (see `mixmae_bench.cost.flops`); of
            pretraining, decoder included.
        image_shape: Height and width in pixels of the image they are counted for.
        config: File of the config, relative to the suite.
        config_hash: Hash of the resolved config.
        data_hash: Hash of what the data is (see `mixmae_bench.data.identity`).
        checkpoint: SHA-256 (16 digits) of the initial checkpoint, or None for random weights.
        checkpoint_filled: Percentage of the backbone that it filled, or None.
        epochs: Length of the training, or None where it is counted in iterations.
        iterations: Length of the training in batches of one process.
        lr: Learning rate that the optimiser was given, before layer decay and schedule.
        retries: How often training was taken up again, with other random numbers, after a loss of NaN or
            infinity (see `mixmae_bench.retry`).
        processes: Processes that trained together.
        accumulation: Batches per optimiser step.
        effective_batch: Images per optimiser step: batch x processes x accumulation.
        images_per_s: Training images per second of wall time, data loading included, or None where the
            last process of the run had nothing left to train.
        seconds: Wall time of the run, evaluation included.
        peak_memory_mb: Largest resident memory of a process during the run (GPU: allocated memory). A
            process runs several cells: what earlier ones left in it counts.
        threads: CPU threads that torch used.
        started: When, ISO 8601 in UTC.
        code: Version of this package and, from a checkout, its commit ('+' with local changes).
        code_hash: Hash of the sources that decide the outcome (see `mixmae_bench.environment`).
        packages: Versions of what computes.
        hardware: CPU, cores and GPU.
        process_counts: Numbers of processes that trained it, in order: one, unless it was resumed on another.
    """

    schema: int
    suite: str
    suite_version: int
    method: str
    backbone: str
    task: str
    dataset: str
    seed: int
    key: str
    start: str
    parent: str | None
    metrics: dict[str, float]
    errors: dict[str, float]
    resamples: int
    losses: list[float]
    grad_norms: list[float]
    num_samples: int
    params: int
    backbone_params: int
    flops: int
    image_shape: list[int]
    config: str
    config_hash: str
    data_hash: str
    checkpoint: str | None
    checkpoint_filled: float | None
    epochs: int | None
    iterations: int
    lr: float
    retries: int
    processes: int
    accumulation: int
    effective_batch: int
    images_per_s: float | None
    seconds: float
    peak_memory_mb: float
    threads: int
    started: str
    code: str
    code_hash: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]
    process_counts: list[int] = field(default_factory=list)


METRICS = {
    "loss": "mean training loss of the last epoch",
    "top1": "top-1 accuracy, %",
    "box_ap": "COCO box AP (IoU 0.50:0.95), %",
    "mask_ap": "COCO mask AP (IoU 0.50:0.95), %",
    "miou": "mean IoU over classes, %",
}
"""Meaning and unit of every metric."""


def append_record(path: Path, record: "DataclassInstance") -> None:
    """Append a dataclass as one line, whole or not at all as other processes see it.

    Raises:
        UserError: Where it cannot be written; the file is then as it was.
    """
    line = json.dumps(asdict(record), sort_keys=True).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")), open(path, "a+b", buffering=0) as file:
            if size := file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a writer was killed in the middle of its line
                    line = b"\n" + line
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; make room, or name another") from error


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """Read all records of a file; see `read_lines`."""
    return read_lines(path, Record, SCHEMA)


def read_lines(path: Path, kind: type[T], schema: int) -> tuple[list[T], list[str]]:
    """Read a JSON-lines file of dataclasses that have a field `schema`; a missing file has none.

    Returns:
        The records, and one complaint, with its line number, for every line that is none.
    """
    records, complaints = [], []
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            records.append(_parse(line, kind, schema))
        except (ValueError, TypeError, RecursionError) as error:
            complaints.append(f"{path} line {number} is skipped: {error}")
    return records, complaints


def _parse(line: bytes, kind: type[T], schema: int) -> T:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    if values.get("schema") != schema:
        raise ValueError(f"schema {values.get('schema')!r}, this version reads {schema}")
    types = {own.name: own.type for own in fields(kind)}
    missing = [own for own in fields(kind) if own.name not in values]
    values |= {own.name: own.default_factory() for own in missing if own.default_factory is not MISSING}
    if values.keys() != types.keys():
        raise ValueError(
            f"fields that do not belong or are missing: {', '.join(sorted(values.keys() ^ types.keys()))}"
        )
    for name, value in values.items():
        if not _is(value, types[name]):
            raise ValueError(f"{name} is {json.dumps(value)[:50]}, not of the type {types[name]}")
    return kind(**values)


def _is(value: object, kind: type | UnionType) -> bool:
    """Whether a value from JSON is of the type of a field."""
    inner = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_is(value, one) for one in inner)
    if get_origin(kind) in (list, tuple):
        return isinstance(value, list) and all(_is(one, inner[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is(one, inner[1]) for one in value.values())
    return type(value) in ((int, float) if kind is float else (kind,))
