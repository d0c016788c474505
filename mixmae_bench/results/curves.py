"""Curves of runs over epochs, and the band that reference runs span. Does not import torch.

At every epoch, the band reaches from the lowest to the highest value of the reference runs, each widened by
`WIDER` times their spread. The spread is the standard deviation over the runs, relative to the curve's scale,
as the root mean square over all epochs: that of one epoch alone is too uncertain from a few seeds. The scale
of a loss is its mean over the runs at this epoch; that of a metric is its largest mean over the epochs. One
reference run has no spread: the band is then its value ± `TOLERANCE` times the scale.

If all runs come from one normal distribution, a run leaves the band at any of 20 epochs with a probability of
about 22 % with two reference runs, 7 % with three and 2 % with five (simulated with a correlation of 0.8
between neighbouring epochs). On the digits, 13 of 45 losses leave the band of the other two seeds: give three
reference runs or more.
"""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance

from mixmae_bench.errors import UserError
from mixmae_bench.results.record import Record

Curve = list[tuple[float, float]]
"""Pairs of epoch and value, in order; an epoch is a pass over the training set."""

LOSS = "loss"
FILE = "curves.json"
"""File in the folder of a training with its curves so far; `engine.curves` writes it."""

WIDER = 3.0
TOLERANCE = 0.1
TINY = 1e-6
"""Difference of epochs that is rounding."""


@dataclass(frozen=True)
class Band:
    """Lowest and highest value that agree with the reference runs, at one epoch."""

    epoch: float
    low: float
    high: float


@dataclass(frozen=True)
class Training:
    """The curves of a running or finished training.

    Attributes:
        name: METHOD/seedN/TASK of a run of a suite, or '' outside a suite.
        config: Name of its config.
        curves: Curves by name of the metric, 'loss' among them.
    """

    name: str
    config: str
    curves: dict[str, Curve]


def curves_of(record: Record) -> dict[str, Curve]:
    """Return the curves of a record, the metrics of its last evaluation included."""
    end = _end(record)
    first = end - len(record.losses) + 1
    curves = {LOSS: [(first + i, loss) for i, loss in enumerate(record.losses)]}
    for metric, value in record.metrics.items():
        if metric != LOSS:
            curves[metric] = [*map(tuple, record.curves.get(metric, [])), (end, value)]
    return {name: curve for name, curve in curves.items() if curve}


def _end(record: Record) -> float:
    if record.iterations and record.epoch_iterations:
        return record.iterations / record.epoch_iterations
    return float(record.epochs or len(record.losses))


def read_training(folder: Path) -> Training:
    """Return the curves of a training from its folder.

    Raises:
        UserError: If the folder has no file of curves, or the file is not valid.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        end, losses = content["epoch"], content["losses"]
        curves = {name: [tuple(point) for point in curve] for name, curve in content["curves"].items()}
        loss = [(end - len(losses) + 1 + i, value) for i, value in enumerate(losses)]
        return Training(content["name"], content["config"], {LOSS: loss, **curves})
    except FileNotFoundError:
        raise UserError(
            f"{folder} has no {FILE}; give the folder of a training whose first epoch is finished, or "
            "RECORDS:METHOD/seedN/TASK"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not valid ({type(error).__name__}: {error}); train again") from error


def bands(metric: str, references: Sequence[Curve], epochs: Sequence[float]) -> list[Band]:
    """Return the band of reference curves at those of some epochs that all of them reach (see above).

    Between two epochs of a reference curve, its values are interpolated.

    Args:
        metric: Name of the metric; the scale of 'loss' changes over the epochs.
        references: One curve per reference run.
        epochs: Epochs of the run to compare.
    """
    first = max(curve[0][0] for curve in references)
    last = min(curve[-1][0] for curve in references)
    own = [epoch for epoch, _ in references[0] if first <= epoch <= last]
    means = [abs(fmean(_at(curve, epoch) for curve in references)) for epoch in own]

    def scale(epoch: float) -> float:
        values = [_at(curve, epoch) for curve in references]
        return abs(fmean(values)) if metric == LOSS else max(means)

    share = TOLERANCE
    if len(references) > 1:
        spreads = [variance(_at(c, e) for c in references) / scale(e) ** 2 for e in own if scale(e)]
        share = WIDER * fmean(spreads or [0.0]) ** 0.5
    found = []
    for epoch in epochs:
        if first - TINY <= epoch <= last + TINY:
            values = [_at(curve, epoch) for curve in references]
            wider = share * scale(epoch)
            found.append(Band(epoch, min(values) - wider, max(values) + wider))
    return found


def _at(curve: Curve, epoch: float) -> float:
    """Return the value of a curve at an epoch, interpolated between its neighbours."""
    after = bisect_left(curve, epoch, key=lambda point: point[0])
    if after == 0 or after == len(curve):
        return curve[min(after, len(curve) - 1)][1]
    (x0, y0), (x1, y1) = curve[after - 1 : after + 1]
    return y0 + (y1 - y0) * (epoch - x0) / (x1 - x0)
