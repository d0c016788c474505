"""Stability of rankings of methods. Does not import torch."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from scipy.stats import kendalltau


def agreement(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Return Kendall's tau-b between two rankings, such as those of two protocols.

    Args:
        first: Value by method.
        second: Value by method. Methods that only one of them has are left out.

    Returns:
        1 for the same order, -1 for the opposite one; NaN with fewer than two common methods, or if one of
        the rankings has only ties.
    """
    common = [method for method in first if method in second]
    if len(common) < 2:
        return float("nan")
    return float(kendalltau([first[m] for m in common], [second[m] for m in common]).statistic)


def stability(values: Mapping[str, Mapping[int, float]]) -> float:
    """Return the mean of `agreement` between the rankings of two seeds, over all pairs of seeds.

    Args:
        values: Value by method and seed. Seeds that a method lacks are left out.

    Returns:
        The mean, or NaN with fewer than two seeds that all methods have.
    """
    seeds = sorted(set.intersection(*(set(own) for own in values.values()))) if values else []
    rankings = [{method: own[seed] for method, own in values.items()} for seed in seeds]
    taus = [agreement(first, second) for first, second in combinations(rankings, 2)]
    return float(np.mean(taus)) if taus else float("nan")
