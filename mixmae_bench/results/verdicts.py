"""Verdicts on the methods of a suite: every pair, per task and metric. Does not import torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from mixmae_bench.errors import UserError
from mixmae_bench.results.differences import (
    LEVEL,
    Difference,
    Runs,
    difference,
    holm,
    image_difference,
    mcnemar,
)
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outcomes import Classified, Outcomes, check_values, read_outcomes
from mixmae_bench.results.rankings import stability
from mixmae_bench.results.record import Record

BETTER, WORSE, LEVEL_WITH = "better", "worse", "not distinguishable"

SEEDS_AND_IMAGES, SEEDS, IMAGES = "seeds and images", "seeds", "images"
"""What a comparison resamples; '' if nothing can be resampled."""

Group = dict[str, list[tuple[Record, Outcomes | None]]]
"""Records with their outcomes, by name of the method."""


@dataclass(frozen=True)
class Comparison:
    """Two methods, the first minus the second.

    Attributes:
        estimate: Difference of the means over seeds.
        basis: `SEEDS_AND_IMAGES`, `SEEDS`, `IMAGES` or ''.
        error: Standard error, or None without a basis.
        interval: Confidence interval at 95 %, not corrected for the number of comparisons, or None without
            several seeds.
        p: Two-sided p value, corrected by Holm's method for the number of comparisons of the matrix, or None.
            Without several seeds, it is that of McNemar's test, for classifiers only.
        verdict: `BETTER`, `WORSE` or `LEVEL_WITH` for the first method; '' without several seeds.
        difference: The difference with its variances, or None without several seeds.
    """

    estimate: float
    basis: str
    error: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    verdict: str = ""
    difference: Difference | None = None


@dataclass(frozen=True)
class Matrix:
    """All pairs of methods on one metric of one task.

    Attributes:
        task: Name of the task.
        dataset: Name of its data set.
        metric: Name of the metric.
        methods: Names of the methods, best mean first.
        means: Mean over seeds by method.
        seeds: Number of seeds by method.
        images: Number of images.
        comparisons: Comparison by pair, in the order of `methods`.
        stability: Mean Kendall's tau between the rankings of two seeds (see `rankings.stability`).
    """

    task: str
    dataset: str
    metric: str
    methods: tuple[str, ...]
    means: dict[str, float]
    seeds: dict[str, int]
    images: int
    comparisons: dict[tuple[str, str], Comparison]
    stability: float


def matrices(records: Iterable[Record], folders: Sequence[Path]) -> tuple[list[Matrix], list[str]]:
    """Return a matrix for every task and metric of transfer that several methods have.

    Args:
        records: One record for each run.
        folders: Folders of the files that the records are from; outcomes are looked up in them.

    Returns:
        The matrices, and messages about outcomes that cannot be used.
    """
    groups: dict[tuple[str, str], Group] = {}
    complaints: list[str] = []
    own = [r for r in records if any(_is_compared(metric) for metric in r.metrics)]
    several = len({record.backbone for record in own}) > 1
    for record in own:
        name = f"{record.method}, {record.backbone}" if several else record.method
        found = _find_outcomes(record, folders, complaints)
        groups.setdefault((record.task, record.dataset), {}).setdefault(name, []).append((record, found))
    made = []
    for (task, dataset), group in sorted(groups.items()):
        names = dict.fromkeys(
            name for runs in group.values() for record, _ in runs for name in record.metrics
        )
        for metric in filter(_is_compared, names):
            having = {
                method: kept
                for method, runs in group.items()
                if (kept := [run for run in runs if metric in run[0].metrics])
            }
            if len(having) > 1:
                made.append(_matrix(task, dataset, metric, having))
    return made, complaints


def _is_compared(metric: str) -> bool:
    return metric not in METRICS or METRICS[metric].of_transfer


def _find_outcomes(record: Record, folders: Sequence[Path], complaints: list[str]) -> Outcomes | None:
    """Return the outcomes that a record names, or None; add a message if they are named but not usable."""
    if record.outcomes is None or record.outcomes_hash is None:
        return None
    files = [folder / record.outcomes for folder in folders] or [Path(record.outcomes)]
    problems = []
    for file in [file for file in files if file.is_file()] or files[:1]:
        try:
            outcomes = read_outcomes(file, record.outcomes_hash)
            check_values(outcomes, record.metrics)
            return outcomes
        except (UserError, ValueError, KeyError) as error:  # such as the same run of another suite
            problems.append(str(error))
    complaints.append(f"{record.method}/seed{record.seed}/{record.task}: {problems[0]}")
    return None


def _matrix(task: str, dataset: str, metric: str, group: Group) -> Matrix:
    sign = 1 if metric not in METRICS or METRICS[metric].higher_is_better else -1
    means = {
        method: float(np.mean([record.metrics[metric] for record, _ in runs]))
        for method, runs in group.items()
    }
    methods = tuple(sorted(group, key=lambda method: (-sign * means[method], method)))
    pairs = {pair: _compare(metric, *(group[method] for method in pair)) for pair in combinations(methods, 2)}
    tested = [pair for pair, own in pairs.items() if own.p is not None]
    for pair, p in zip(tested, holm([pairs[pair].p for pair in tested]), strict=True):
        pairs[pair] = _decided(pairs[pair], p, sign)
    return Matrix(
        task,
        dataset,
        metric,
        methods,
        means,
        {method: len(group[method]) for method in methods},
        max(record.num_samples for runs in group.values() for record, _ in runs),
        pairs,
        stability({m: {r.seed: r.metrics[metric] for r, _ in runs} for m, runs in group.items()}),
    )


def _compare(metric: str, *sides: list[tuple[Record, Outcomes | None]]) -> Comparison:
    """Return the comparison of two methods, before the correction of its p value."""
    found = [outcomes for runs in sides for _, outcomes in runs]
    usable = all(own and metric in own.parts for own in found)
    if usable and all(own.images == found[0].images for own in found):
        first, second = (_runs_of_outcomes(metric, [own for _, own in runs]) for runs in sides)
    else:
        first, second = (Runs(np.array([record.metrics[metric] for record, _ in runs])) for runs in sides)
    estimate = float(first.values.mean() - second.values.mean())
    if min(first.seeds, second.seeds) > 1:
        own = difference(first, second)
        low, high = own.interval()
        basis = SEEDS_AND_IMAGES if own.resamples else SEEDS
        return Comparison(
            estimate, basis, float(own.error), (float(low), float(high)), own.p_value(), "", own
        )
    if first.resampled is None:
        return Comparison(estimate, "")
    parts = [own.parts[metric] for own in found]
    given = len(parts) == 2 and all(isinstance(part, Classified) for part in parts)
    p = mcnemar(*(part.correct for part in parts)) if given else None
    return Comparison(estimate, IMAGES, image_difference(first, second)[1], p=p)


def _runs_of_outcomes(metric: str, outcomes: Sequence[Outcomes]) -> Runs:
    resampled = np.stack([own.resampled[metric] for own in outcomes])
    # Resamples without any object have no AP, whichever the method.
    known = ~np.isnan(resampled).any(axis=0)
    return Runs(np.array([own.value(metric) for own in outcomes]), resampled[:, known])


def _decided(comparison: Comparison, p: float, sign: int) -> Comparison:
    """Return a comparison with its corrected p value, and the verdict if there are several seeds."""
    verdict = ""
    if comparison.difference:
        ahead = BETTER if sign * comparison.estimate > 0 else WORSE
        verdict = ahead if p < LEVEL else LEVEL_WITH
    return replace(comparison, p=p, verdict=verdict)
