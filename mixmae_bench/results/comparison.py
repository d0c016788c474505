"""Comparison of a training with the band of reference runs, at any point of it. Does not import torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import PurePosixPath

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.results.curves import LOSS, Band, Training, bands, curves_of
from mixmae_bench.results.record import Record


@dataclass(frozen=True)
class Comparison:
    """One curve of a training beside the reference runs.

    Attributes:
        metric: Name of the metric.
        references: Number of reference runs.
        points: Number of compared points.
        left: Epoch, value and band of the first point outside the band, or None.
        last: Epoch, value and band of the last compared point.
    """

    metric: str
    references: int
    points: int
    left: tuple[float, float, Band] | None
    last: tuple[float, float, Band]


def name_of(record: Record) -> str:
    """Return the name of a record's run."""
    return f"{record.method}/seed{record.seed}/{record.task}"


def training_of(record: Record) -> Training:
    """Return the curves of a record."""
    return Training(name_of(record), PurePosixPath(record.config).stem, curves_of(record))


def references_of(training: Training, records: Sequence[Record], where: str) -> list[Record]:
    """Return the records that a training is compared with: those of its config and its method.

    The method of a training outside a suite is not known; it is then that of all records of its config. A
    record with the losses of the training is its own and left out: it would widen the band.

    Args:
        training: The training.
        records: Reference records.
        where: Description of the records, for messages.

    Raises:
        UserError: If there is none but its own, or if records of several methods fit.
    """
    same = [r for r in records if PurePosixPath(r.config).stem == training.config]
    if not same:
        known = sorted({PurePosixPath(r.config).stem for r in records})
        near = did_you_mean(training.config, known)
        raise UserError(f"{where} has no run of config {training.config}; give other reference runs.{near}")
    method = training.name.partition("/")[0]
    found = [r for r in same if r.method == method] if method else same
    methods = sorted({r.method for r in same})
    if not found:
        raise UserError(
            f"{where} has no run of method {method} with config {training.config}, only of "
            f"{', '.join(methods)}; give other reference runs"
        )
    if len({r.method for r in found}) > 1:
        raise UserError(
            f"{where} has runs of config {training.config} by several methods ({', '.join(methods)}), and "
            "the training does not tell its own; give reference runs of one method"
        )
    others = [r for r in found if curves_of(r).get(LOSS) != training.curves.get(LOSS)]
    if not others:
        raise UserError(f"{where} has only the record of this training; give other reference runs")
    return others


def compare(training: Training, references: Sequence[Record]) -> list[Comparison]:
    """Return the comparison of every curve that the training and a reference run have.

    A point that is NaN or infinite is outside.
    """
    known = [curves_of(record) for record in references]
    found = []
    for metric, curve in training.curves.items():
        others = [curves[metric] for curves in known if metric in curves]
        if not others:
            continue
        band = {own.epoch: own for own in bands(metric, others, [epoch for epoch, _ in curve])}
        points = [(epoch, value, band[epoch]) for epoch, value in curve if epoch in band]
        if points:
            left = (point for point in points if not _inside(point[1], point[2]))
            found.append(Comparison(metric, len(others), len(points), next(left, None), points[-1]))
    return found


def _inside(value: float, band: Band) -> bool:
    return isfinite(value) and band.low <= value <= band.high
