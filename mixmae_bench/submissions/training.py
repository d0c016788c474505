"""Rules for the training: its length, its log, its curves, and which epoch is reported."""

import re
from collections.abc import Iterator

from mixmae_bench.results.curves import LOSS, curves_of
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.submissions.folder import Submission, SubmittedRun

EPOCH = re.compile(r"Epoch\(train\)\s+\[\s*(\d+)\]\[\s*\d+/\s*(\d+)\]")
"""Epoch and iterations per epoch in a line of the log."""

ITERATION = re.compile(r"Iter\(train\)\s+\[\s*(\d+)/\s*(\d+)\]")
"""Iteration and iterations of the training in a line of the log."""

EVALUATION = re.compile(r"(?:Epoch|Iter)\(val\)\s.*")

DECIMALS = 5e-5
"""Rounding of metrics in the log."""


def schedule(submission: Submission) -> Iterator[str]:
    """Epochs, iterations and the number of losses in a record are those of its config."""
    for run in submission.runs:
        record, length = run.record, run.config.train_cfg
        epochs = length.get("max_epochs")
        if record.epochs != epochs:
            yield f"{run.name}: {record.epochs} epochs in the record, {epochs} in the config"
            continue
        per_epoch = record.epoch_iterations or 0
        wanted = record.epochs * per_epoch if record.epochs else length.get("max_iters")
        if not per_epoch or record.iterations != wanted:
            yield f"{run.name}: {record.iterations} iterations in the record, {wanted} by its config"
        elif len(set(record.process_counts)) < 2 and abs(len(record.losses) - wanted / per_epoch) >= 1:
            yield f"{run.name}: {len(record.losses)} losses of {wanted / per_epoch:g} epochs"


def log(submission: Submission) -> Iterator[str]:
    """The log is that of the run, and shows every epoch, or the iterations up to the last ones."""
    for run in submission.runs:
        record = run.record
        if record.key not in run.log:
            yield f"{run.name}: the log does not name the run's key {record.key}"
        elif record.epochs:
            lines = EPOCH.findall(run.log)
            missing = set(range(1, record.epochs + 1)) - {int(epoch) for epoch, _ in lines}
            if missing:
                yield f"{run.name}: the log has no line of {len(missing)} epochs, the first is {min(missing)}"
            elif int(lines[-1][1]) != record.epoch_iterations:
                yield (
                    f"{run.name}: epochs of {lines[-1][1]} iterations in the log, "
                    f"{record.epoch_iterations} in the record"
                )
        else:
            yield from _iterations(run)


def _iterations(run: SubmittedRun) -> Iterator[str]:
    lines = ITERATION.findall(run.log)
    logger = (run.config.get("default_hooks") or {}).get("logger") or {}
    last, wanted = max((int(done) for done, _ in lines), default=0), run.record.iterations
    if last <= wanted - logger.get("interval", 10) or int(lines[-1][1]) != wanted:
        yield f"{run.name}: the log ends at iteration {last} of {wanted}"


def curves(submission: Submission) -> Iterator[str]:
    """Losses and earlier evaluations in `curves.json` are those of the record."""
    for run in submission.runs:
        found, wanted = run.training.curves, curves_of(run.record)
        if run.training.name != run.name:
            yield f"{run.name}: the curves are those of {run.training.name}"
        for name in sorted(found.keys() | wanted.keys()):
            own, theirs = found.get(name, []), wanted.get(name, [])
            end = None if name == LOSS else -1  # the last evaluation has a rule of its own
            if own[:end] != theirs[:end]:
                yield f"{run.name}: curves.json has another curve of {name} than the record"


def last_epoch(submission: Submission) -> Iterator[str]:
    """The metrics are those of the last epoch, not of the best one."""
    for run in submission.runs:
        record = run.record
        end = record.iterations / record.epoch_iterations
        for name, value in record.metrics.items():
            curve = run.training.curves.get(name, [])
            epoch, last = curve[-1] if curve else (0, None)
            if (epoch, last) != (end, value):
                near = next((f"epoch {e:g}" for e, v in curve if v == value), "no epoch")
                yield (
                    f"{run.name}: {name} {value} is that of {near}; the curve ends with {last} at epoch "
                    f"{epoch:g} of {end:g}"
                )
            elif name != LOSS and not _logged(run, name, value):
                yield f"{run.name}: {name} {value} is not what the last evaluation in the log reports"


def _logged(run: SubmittedRun, name: str, value: float) -> bool:
    """Return whether the log's last evaluation reports a value; no detections are reported as nothing."""
    metric, lines = METRICS[name], EVALUATION.findall(run.log)
    found = re.findall(rf"(?<!\S){re.escape(metric.framework_key)}: (\S+)", lines[-1]) if lines else []
    if not found:
        return bool(lines) and value == 0
    return abs(float(found[-1]) * metric.scale - value) <= 1.01 * DECIMALS * metric.scale + DECIMALS
