"""The probe ladder: every asked probe on every asked stage with every seed, as records."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mixmae_bench.engine.config import content_hash
from mixmae_bench.errors import UserError
from mixmae_bench.probes.features import Features
from mixmae_bench.probes.frozen import Frozen, Probed
from mixmae_bench.probes.heads import Training, build_head
from mixmae_bench.probes.kinds import KINDS, Kind, Labels
from mixmae_bench.probes.rows import Rows
from mixmae_bench.probes.splits import SHARE, carve, check_classes, draw_shots
from mixmae_bench.results.bootstrap import top1_error
from mixmae_bench.results.probes import ALL, LAST, PROBE_SCHEMA, ProbeRecord, read_probes
from mixmae_bench.results.record import append_record
from mixmae_bench.system.environment import code_hash, code_version, hardware, package_version, packages

COMPUTED_BY = [f"mixmae_bench.probes.{name}" for name in ("attentive", "heads", "kinds", "ladder", "splits")]
"""Modules that determine the outcome for given features, besides the sources that `code_hash` covers."""

OWNER = ("suite", "suite_version", "method")
"""Fields of the record that name the owner of the weights."""

Progress = Callable[[int, int, str], None]
"""Function of the number of finished probes, their total number, and a text about the last one."""


@dataclass(frozen=True)
class Step:
    """One probe on one stage with one seed."""

    probe: str
    stage: str
    seed: int
    epochs: int

    @property
    def kind(self) -> Kind:
        """The probe's entry in `KINDS`."""
        return KINDS[self.probe]

    @property
    def text(self) -> str:
        """Description for lines about the progress."""
        return (
            f"{self.probe}, {'all stages' if self.stage == ALL else f'stage {self.stage}'}, seed {self.seed}"
        )


def stages_of(asked: Sequence[str], count: int) -> list[str]:
    """Return the stages to probe, without duplicates.

    Args:
        asked: Numbers from 1, 'last' and 'all'; every stage and all together, if empty.
        count: Number of stages of the backbone. With one stage, 'all' is the same as '1'.

    Raises:
        UserError: If the backbone has no such stage.
    """
    known = {str(n): str(n) for n in range(1, count + 1)}
    known |= {LAST: str(count), ALL: ALL if count > 1 else "1"}
    for stage in asked:
        if stage not in known:
            raise UserError(f"--stages has '{stage}'; this backbone has {', '.join(known)}")
    return list(dict.fromkeys(known[stage] for stage in asked or known))


def climb(
    frozen: Frozen,
    probes: Sequence[str],
    stages: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
    out: Path | None,
    progress: Progress,
    owner: tuple[str | None, int | None, str | None] = (None, None, None),
) -> list[ProbeRecord]:
    """Measure every probe on every stage with every seed, and append the records to a file.

    A probe with a record of the same key and owner in the file is not measured again.

    Args:
        frozen: The frozen backbone and the data.
        probes: Names in `KINDS`.
        stages: See `stages_of`.
        seeds: Seeds.
        epochs: Epochs of trained heads.
        out: File of the records, or None.
        progress: See `Progress`.
        owner: Suite that the weights are from, its version and method, if any.

    Raises:
        UserError: If a stage is unknown, a class has too few images, or see `Frozen.probed`.
    """
    stages = stages_of(stages, frozen.stages)
    _check_shots(frozen, probes, seeds)
    lines = read_probes(out)[0] if out else []
    known = {record.key: record for record in lines if record.owner == owner}
    steps = [Step(*own, seed, epochs) for seed in seeds for own in _product(probes, stages)]
    tokens = any(KINDS[probe].tokens for probe in probes)
    about = {**frozen.about, **_environment(), **dict(zip(OWNER, owner, strict=True))}
    records = []
    for number, step in enumerate(steps, 1):
        probed = frozen.probed(step.seed, tokens)
        key = _key(step, probed, about["code_hash"])
        record = known.get(key) or _measured(step, probed, frozen, {"key": key, **probed.about, **about})
        if out and key not in known:
            append_record(out, record)
        records.append(record)
        chosen = f"{record.setting}={record.chosen:g}"
        progress(number, len(steps), f"{step.text}: top-1 {record.metrics['top1']:.2f} ({chosen})")
    return records


def _product(probes: Iterable[str], stages: Sequence[str]) -> Iterable[tuple[str, str]]:
    return ((probe, stage) for probe in probes for stage in stages)


def _check_shots(frozen: Frozen, probes: Sequence[str], seeds: Sequence[int]) -> None:
    """Draw the shots of all seeds once, so that a class with too few images is noticed before any work."""
    check_classes(frozen.train.labels, frozen.val.labels, frozen.class_names)
    for seed in seeds:
        rows, _ = carve(frozen.train.labels, seed)
        for probe in probes:
            if shots := KINDS[probe].shots:
                draw_shots(frozen.train.labels, rows, shots, seed, frozen.class_names)


def _environment() -> dict:
    """Return the fields of the record that describe code and machine."""
    return dict(
        threads=torch.get_num_threads(),
        code=code_version(),
        code_hash=code_hash(COMPUTED_BY),
        packages={**packages(), "scikit-learn": str(package_version("scikit-learn"))},
        hardware=hardware(),
    )


def _key(step: Step, probed: Probed, code: str) -> str:
    parts = dict(
        train=probed.train.key,
        val=probed.val.key,
        probe=step.probe,
        stage=step.stage,
        seed=step.seed,
        share=SHARE,
        epochs=step.epochs if step.kind.pool else None,
        code=code,
    )
    return content_hash(Config(parts))


@dataclass(frozen=True)
class Outcome:
    """Outcome of a probe: the value of the hyperparameter, its grid with top-1 in %, and the final result."""

    chosen: float
    tuning: list[list[float]]
    top1: float
    train_samples: int


def measure(
    step: Step, train: Features, val: Features, class_names: Sequence[str], classes: int, device: str
) -> Outcome:
    """Choose the hyperparameter on a part of the training images, fit on all, and predict the validation set.

    With shots, the images are drawn from the others, and the final classifier is fitted on them alone.

    Args:
        step: The probe.
        train: Features of the training images.
        val: Features of the validation images.
        class_names: Names of the classes, for messages.
        classes: Number of classes that heads tell apart.
        device: Device of heads and neighbours.
    """
    kind, training = step.kind, Training(step.epochs, step.seed, device)
    fit, held = carve(train.labels, step.seed)
    if kind.shots:
        fit = draw_shots(train.labels, fit, kind.shots, step.seed, class_names)
    parts, val_parts = (_parts(own, step) for own in (train, val))

    def tops(rows: Labels, asked: Rows, truth: Labels, values: Sequence[float]) -> list[float]:
        found = kind.predict(Rows(parts, rows), train.labels[rows], asked, values, classes, training)
        return [100 * float(np.mean(labels == truth)) for labels in found]

    tuned = tops(fit, Rows(parts, held), train.labels[held], kind.grid)
    chosen = kind.grid[int(np.argmax(tuned))]
    final = fit if kind.shots else np.arange(len(train.labels))
    (top1,) = tops(final, Rows(val_parts, np.arange(len(val.labels))), val.labels, [chosen])
    grid = [[float(value), round(top, 4)] for value, top in zip(kind.grid, tuned, strict=True)]
    return Outcome(float(chosen), grid, round(top1, 4), len(final))


def _parts(features: Features, step: Step) -> list[np.ndarray]:
    own = features.tokens if step.kind.tokens else features.pooled
    return own if step.stage == ALL else [own[int(step.stage) - 1]]


def _measured(step: Step, probed: Probed, frozen: Frozen, about: dict) -> ProbeRecord:
    started, clock = datetime.now(UTC), time.monotonic()
    classes = int(probed.train.labels.max()) + 1
    outcome = measure(step, probed.train, probed.val, frozen.class_names, classes, frozen.device)
    read = Rows(_parts(probed.val, step), np.arange(1))
    images = len(probed.val.labels)
    return ProbeRecord(
        schema=PROBE_SCHEMA,
        probe=step.probe,
        stage=step.stage,
        stages=frozen.stages,
        seed=step.seed,
        metrics={"top1": outcome.top1},
        stderr={"top1": round(top1_error(outcome.top1, images), 4)},
        num_samples=images,
        train_samples=outcome.train_samples,
        classes=len(np.unique(probed.train.labels)),
        shots=step.kind.shots,
        setting=step.kind.setting,
        chosen=outcome.chosen,
        tuning=outcome.tuning,
        tuning_share=SHARE,
        epochs=step.epochs if step.kind.pool else None,
        **_head_size(step.kind, read, classes),
        channels=read.dim,
        tokens=read.tokens,
        train_features=probed.train.key,
        val_features=probed.val.key,
        **about,
        seconds=round(time.monotonic() - clock, 2),
        started=started.isoformat(timespec="seconds"),
    )


def _head_size(kind: Kind, read: Rows, classes: int) -> dict[str, int]:
    """Return parameters and FLOPs of a trained head, as fields of the record; empty without a head."""
    if kind.pool is None:
        return {}
    with torch.device("meta"):
        head = build_head(kind.pool, read.dim, classes)
    pooling = head[0].flops(read.tokens) if kind.tokens else 0
    return {
        "probe_params": sum(p.numel() for p in head.parameters()),
        "probe_flops": pooling + read.dim * classes,
    }
