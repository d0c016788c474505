"""Records of runs: reading, writing and migration. Does not import torch."""

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

SCHEMA = 9
"""Version of the record's fields; increase it with every new field and every change of a field's meaning.

A new field has a default that means "not recorded": None, or an empty list or dict. If a meaning changes, add
a step to `MIGRATIONS`, and a real line of the version before to tests/old_records.jsonl.
"""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Record:
    """The outcome of one run of a suite, one JSON line in `records.jsonl`.

    A field with its default (None, or an empty list or dict) was not recorded by the version that wrote it.

    Attributes:
        schema: Version of the fields when the line was written. Reading converts all fields to `SCHEMA`.
        suite: Name of the suite.
        suite_version: Its version.
        method: 'scratch', or the name of the pretraining method.
        backbone: Type and architecture of the backbone.
        task: 'pretraining', 'classification', 'detection' or 'segmentation'.
        dataset: Name of the data set of the task.
        seed: Random seed of the run.
        key: Hash of everything that affects the outcome: config, data, seed and initial weights.
        initialisation: Source of the backbone's weights: 'random', 'checkpoint' (a given file), or the task
            of the parent run: 'pretraining', or 'classification' with intermediate fine-tuning.
        parent: `key` of the run that produced the initial weights, or None.
        metrics: Values by name, in the unit of `mixmae_bench.results.metrics`.
        stderr: Standard errors of the metrics over the evaluated images, by the same names: binomial for
            top-1, bootstrap for AP and mIoU. The standard error over seeds needs several records.
        resamples: Number of bootstrap resamples, or 0 without bootstrap.
        losses: Mean training loss of every epoch, in order.
        curves: Metrics of the evaluations before the last one, by name, as pairs of epoch and value. The last
            evaluation is in `metrics`.
        epoch_iterations: Iterations of one epoch, in batches per process. The last loss is at
            `iterations / epoch_iterations` epochs, and each loss before it one epoch earlier.
        grad_norms: Mean 2-norm of the gradient over all parameters in every epoch, before clipping, without
            the steps that loss scaling skipped.
        num_samples: Number of images that the metrics are computed on.
        params: Trainable and frozen parameters of the whole model.
        backbone_params: Trainable and frozen parameters of the backbone.
        flops: FLOPs of a forward pass of the whole model per image (see `mixmae_bench.cost.flops`); for
            pretraining, decoder included.
        image_shape: Height and width of the image for `flops`, in pixels.
        config: File of the config, relative to the suite.
        config_hash: Hash of the resolved config.
        data_hash: Hash of the data (see `mixmae_bench.datasets.identity`).
        checkpoint: SHA-256 (16 digits) of the initial checkpoint, or None for random weights.
        checkpoint_source: Where the initial checkpoint is from, 'hf-hub:REPO@COMMIT' or 'timm:MODEL@FILE', or
            None for a file that the suite names by its path.
        pretrained_by: Config of the pretraining that made a given checkpoint, relative to the suite, which
            states it.
        checkpoint_filled: Percentage of the backbone that the checkpoint filled, or None.
        final_checkpoint: SHA-256 (16 digits) of the last checkpoint, or None. Runs that start from this one
            have it as `checkpoint`.
        epochs: Epochs of the training, or None if it is counted in iterations.
        iterations: Iterations of the training, in batches per process.
        lr: Learning rate of the optimiser, before layer decay and schedule.
        retries: Number of restarts with another random state after a loss of NaN or infinity; written by
            older versions only.
        precision: Number format of the forward pass in training, 'float32', 'tf32', 'bfloat16' or 'float16',
            on the hardware that finished the run (see `mixmae_bench.engine.precision`).
        processes: Number of training processes.
        process_counts: Numbers of processes in order; several if the run was resumed on another number.
        accumulation: Batches per optimiser step.
        effective_batch: Images per optimiser step: batch x processes x accumulation.
        images_per_s: Training images per second of wall time, with data loading, without validation; None if
            the process that finished the run had nothing left to train.
        seconds: Wall time of the run, evaluation included.
        peak_memory_mb: Peak resident memory of a process during the run (GPU: allocated memory). If a process
            runs several runs, memory left from earlier ones counts.
        threads: CPU threads of torch.
        started: Start time, ISO 8601 in UTC.
        code: Version of this package and, from a checkout, its commit ('+' with local changes).
        code_hash: Hash of the sources that affect the outcome (see `mixmae_bench.system.environment`). Up to
            schema 4 it was computed differently.
        packages: Versions of the packages that affect the outcome.
        hardware: CPU, cores and GPU.
        absent_classes: Names of classes that AP or mIoU leave out, as they occur in no validation image
            (for mIoU: and in no prediction).
        protocol: Protocol of the suite: 'published' (the recipe of each method), 'shared' (one recipe for
            all) or 'tuned' (the same grid of recipes for every initialisation).
        settings: Values of the tuned settings by name (see `mixmae_bench.engine.settings`), which replaced
            those of the config.
        tuning_share: For a tuning run, the share of the training images that it was not trained but evaluated
            on; None for a result.
        outcomes: File of the per-image outcomes, relative to the folder of the records (see
            `mixmae_bench.results.outcomes`), or None.
        outcomes_hash: SHA-256 (16 digits) of this file, or None.
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
    curves: dict[str, list[list[float]]] = field(default_factory=dict)
    epoch_iterations: int | None = None
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
    checkpoint_source: str | None = None
    pretrained_by: str | None = None
    final_checkpoint: str | None = None
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
    protocol: str | None = None
    settings: dict[str, float] = field(default_factory=dict)
    tuning_share: float | None = None
    outcomes: str | None = None
    outcomes_hash: str | None = None


def _from_1(values: dict) -> dict:
    # Without a checkpoint, the new field `start` is known to be 'random'.
    return {"start": "random", **values} if values.get("checkpoint", "") is None else values


def _from_4(values: dict) -> dict:
    # In runs counted in iterations, images_per_s wrongly included the time of validation.
    return {**values, "images_per_s": None} if values.get("epochs", 0) is None else values


Migration = Callable[[dict], dict]


def _from_5(values: dict) -> dict:
    names = {"errors": "stderr", "start": "initialisation"}
    return {names.get(name, name): value for name, value in values.items()}


MIGRATIONS: dict[int, Migration] = {1: _from_1, 4: _from_4, 5: _from_5}
"""Functions from the values of schema n to those of n + 1; without an entry, fields were only added."""


def append_record(path: Path, record: "DataclassInstance") -> None:
    """Append a dataclass as one JSON line, atomically for other processes.

    Raises:
        UserError: If it cannot be written; the file is then unchanged.
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
    """Read a JSON-lines file of dataclasses that have a field `schema`; a missing file has no lines.

    Lines of older schemas are migrated. Unknown fields are ignored, so lines of newer schemas can be read if
    they have all required fields.

    Args:
        path: The file.
        kind: The pydantic dataclass. Fields without a default are required.
        schema: Newest version of the fields.
        migrations: See `MIGRATIONS`.

    Returns:
        The records, and one message with the line number for every line that is not a record.
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
        raise ValueError(f"schema is {written!r}, not an integer of 1 or more")
    remedy = f" (a newer version wrote it, schema {written}: update this package)" if written > schema else ""
    for step in range(written, schema):
        values = migrations.get(step, dict)(values)
    try:
        return kind(**values)
    except ValidationError as error:
        reason = explain(error, kind, values, "{}", lambda value: json.dumps(value)[:50])
        raise ValueError(f"{reason}{remedy}") from error
