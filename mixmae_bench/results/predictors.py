"""How well a cheap measure predicts the order of methods after fine-tuning. Does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mixmae_bench.results.rankings import agreement

RESAMPLES = 1000
"""Resamples of the seeds."""

LEAST_METHODS = 3
"""Methods below which no order is compared."""

BySeed = dict[int, float]
"""Values of one method by seed."""


@dataclass(frozen=True)
class Prediction:
    """Agreement of two orders of methods.

    Attributes:
        tau: Kendall's tau-b between the means over seeds.
        low: Lower end of the 95 % percentile interval over resamples of the seeds.
        high: Upper end.
        methods: Number of methods.
        pairs: Number of runs with both values.
    """

    tau: float
    low: float
    high: float
    methods: int
    pairs: int


def prediction(measure: Mapping[str, BySeed], target: Mapping[str, BySeed]) -> Prediction | None:
    """Return the agreement between the orders of methods by a measure and by a target.

    The seeds of every method are resampled with replacement, independently of other methods. A seed keeps its
    two values together, as both are of the same initial weights. Resamples without an order, in which all
    methods are tied, are left out.

    Args:
        measure: Values of the measure by method and seed.
        target: Values of the target. Seeds that only one of them has are left out.

    Returns:
        The agreement, or None with fewer than `LEAST_METHODS` methods, or if all methods are tied.
    """
    pairs = {
        method: np.array([(own[seed], target[method][seed]) for seed in own if seed in target[method]])
        for method, own in measure.items()
        if own.keys() & target.get(method, {}).keys()
    }
    if len(pairs) < LEAST_METHODS:
        return None
    tau = _agreement(pairs)
    if np.isnan(tau):
        return None
    generator = np.random.default_rng(0)
    taus = [
        _agreement({m: own[generator.integers(len(own), size=len(own))] for m, own in pairs.items()})
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanquantile(taus, [0.025, 0.975])
    return Prediction(tau, float(low), float(high), len(pairs), sum(map(len, pairs.values())))


def _agreement(pairs: Mapping[str, np.ndarray]) -> float:
    means = {method: own.mean(0) for method, own in pairs.items()}
    return agreement({m: v[0] for m, v in means.items()}, {m: v[1] for m, v in means.items()})
