"""One record per run: what was run, from what, on what, and what came out. Needs no torch."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from mixmae_bench.errors import UserError
from mixmae_bench.system.typed import STRICT, explain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

SCHEMA = 6
"""Version of the record's fields: one more with every new field and every change of a meaning.

A new field has a default that says "not recorded": None, or an empty list or dict. Where a meaning changes,
`MIGRATIONS` gets a step, and tests/old_records.jsonl a real line of the version before.
"""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Record:
    """The outcome of one run of a suite, one JSON line in `records.jsonl`.

    None, or an empty list or dict, in a field that has it as its default: an older version did not record it.

    Attributes:
        schema: Version of the fields when the line was written. All have today's meaning once it is read.
        suite: Name of the suite.
        suite_version: Its version.
        method: What the backbone starts from: 'scratch' or a pretraining method's name.
        backbone: Type and architecture of the backbone.
        task: 'pretraining', 'classification', 'detection' or 'segmentation'.
        dataset: Name of the data the task is run on.
        seed: Seed of everything random in this run.
        key: Hash of all that decides the outcome: config, data, seed, and what the backbone starts from.
        initialisation: Where the backbone's weights come from: 'random', 'checkpoint' (a given file), or the
            task of the run before: 'pretraining', or 'classification' with intermediate fine-tuning.
        parent: `key` of that run, or None.
        metrics: Values by name, in the unit of `mixmae_bench.results.metrics`.
        stderr: Standard errors of metrics over the images they are computed on, by the same names: binomial
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
        data_hash: Hash of what the data is (see `mixmae_bench.datasets.identity`).
        checkpoint: SHA-256 (16 digits) of the initial checkpoint, or None for random weights.
        checkpoint_filled: Percentage of the backbone that it filled, or None.
        epochs: Length of the training, or None where it is counted in iterations.
        iterations: Length of the training in batches of one process.
        lr: Learning rate that the optimiser was given, before layer decay and schedule.
        retries: How often training was taken up again, with other random numbers, after a loss of NaN or
            infinity, by versions that did so.
        precision: Number format of the forward pass in training, 'float32', 'bfloat16' or 'float16', as the
            hardware of the run's end had it (see `mixmae_bench.engine.precision`).
        processes: Processes that trained together.
        process_counts: Numbers of processes that trained it, in order: one, unless it was resumed on another.
        accumulation: Batches per optimiser step.
        effective_batch: Images per optimiser step: batch x processes x accumulation.
        images_per_s: Training images per second of wall time, data loading included, validation not, or None
            where the last process of the run had nothing left to train.
        seconds: Wall time of the run, evaluation included.
        peak_memory_mb: Largest resident memory of a process during the run (GPU: allocated memory). A
            process runs several runs: what earlier ones left in it counts.
        threads: CPU threads that torch used.
        started: When, ISO 8601 in UTC.
        code: Version of this package and, from a checkout, its commit ('+' with local changes).
        code_hash: Hash of the sources that decide the outcome (see `mixmae_bench.system.environment`). Up to
            schema 4 it was computed otherwise, of sources that have changed since.
        packages: Versions of what computes.
        hardware: CPU, cores and GPU.
        absent_classes: Names of classes that AP or mIoU leave out, as no validation image has
            them (for mIoU: nor any prediction).
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
    initialisation: str | None = None
    parent: str | None = None
    metrics: dict[str, float]
    stderr: dict[str, float] = field(default_factory=dict)
    resamples: int | None = None
    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    num_samples: int
    params: int
    backbone_params: int
    flops: int | None = None
    image_shape: list[int] = field(default_factory=list)
    config: str
    config_hash: str
    data_hash: str | None = None
    checkpoint: str | None
    checkpoint_filled: float | None
    epochs: int | None
    iterations: int | None = None
    lr: float | None = None
    retries: int | None = None
    precision: str | None = None
    processes: int | None = None
    process_counts: list[int] = field(default_factory=list)
    accumulation: int | None = None
    effective_batch: int
    images_per_s: float | None
    seconds: float
    peak_memory_mb: float
    threads: int
    started: str
    code: str
    code_hash: str | None = None
    packages: dict[str, str]
    hardware: dict[str, str | int | None]
    absent_classes: list[str] = field(default_factory=list)


def _from_1(values: dict) -> dict:
    # Of the new field `start`, this much is known.
    return {"start": "random", **values} if values.get("checkpoint", "") is None else values


def _from_4(values: dict) -> dict:
    # Where the length is counted in iterations, the time of validation was taken for training.
    return {**values, "images_per_s": None} if values.get("epochs", 0) is None else values


Migration = Callable[[dict], dict]


def _from_5(values: dict) -> dict:
    names = {"errors": "stderr", "start": "initialisation"}
    return {names.get(name, name): value for name, value in values.items()}


MIGRATIONS: dict[int, Migration] = {1: _from_1, 4: _from_4, 5: _from_5}
"""Steps from the values of schema n to those of n + 1; where there is none, fields were only added."""


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
    return read_lines(path, Record, SCHEMA, MIGRATIONS)


def read_lines(
    path: Path, kind: type[T], schema: int, migrations: Mapping[int, Migration] | None = None
) -> tuple[list[T], list[str]]:
    """Read a JSON-lines file of dataclasses that have a field `schema`; a missing file has none.

    Lines of older schemas are migrated. Of newer ones, all that this version knows is read: a field that it
    does not know is ignored, in a line of any schema.

    Args:
        path: The file.
        kind: The pydantic dataclass. A field without a default is one that every line has.
        schema: Its newest version.
        migrations: See `MIGRATIONS`.

    Returns:
        The records, and one complaint, with its line number, for every line that is none.
    """
    records, complaints = [], []
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            records.append(_parse(line, kind, schema, migrations or {}))
        except (ValueError, TypeError, RecursionError) as error:
            complaints.append(f"{path} line {number} is skipped: {error}")
    return records, complaints


def _parse(line: bytes, kind: type[T], schema: int, migrations: Mapping[int, Migration]) -> T:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    written = values.get("schema")
    if type(written) is not int or written < 1:
        raise ValueError(f"schema {written!r}, this version reads those from 1 on")
    remedy = f" (a newer version wrote it, schema {written}: update this package)" if written > schema else ""
    for step in range(written, schema):
        values = migrations.get(step, dict)(values)
    try:
        return kind(**values)
    except ValidationError as error:
        reason = explain(error, kind, values, "{}", lambda value: json.dumps(value)[:50])
        raise ValueError(f"{reason}{remedy}") from error
