"""Number of seeds and of images needed to see a difference. Does not import torch."""

from bisect import bisect_left

import numpy as np
from scipy.stats import chi2, norm

from mixmae_bench.results.differences import LEVEL, Difference, critical_value

POWER = 0.8
"""Share of repetitions in which a difference should be significant."""

DRAWS = 1000
"""Draws of the variances between seeds that a power is averaged over."""

MOST_SEEDS, MOST_IMAGES = 500, 10**8


def power(
    variances: Difference, delta: float, seeds: int, images_ratio: float = 1.0, level: float = LEVEL
) -> float:
    """Return the probability that a true difference is significant.

    The estimate is taken as normal, and the measured variances between seeds as chi-squared. Both are drawn
    with a fixed seed.

    Args:
        variances: A measured difference; its variances are taken as the true ones.
        delta: True difference, in the metric's unit.
        seeds: Number of seeds of each method.
        images_ratio: Number of images as a multiple of those of `variances`.
        level: Level of the test.
    """
    generator = np.random.default_rng(0)
    drawn, truth = [], 0.0
    for between, interaction in zip(variances.between, variances.interaction, strict=True):
        variance = float(max(between - interaction, 0) + interaction / images_ratio)
        truth += variance / seeds
        uniform = (generator.permutation(DRAWS) + 0.5) / DRAWS
        drawn.append(variance * chi2.ppf(uniform, seeds - 1) / (seeds - 1))
    images = np.full(DRAWS, float(variances.images) / images_ratio)
    measured = np.sqrt((drawn[0] + drawn[1]) / seeds + images)
    limit = measured * critical_value(drawn, images, (seeds, seeds), variances.resamples, level)
    error = np.sqrt(truth + images[0])
    return float(np.mean(norm.sf((limit - delta) / error) + norm.cdf((-limit - delta) / error)))


def seeds_needed(variances: Difference, delta: float, level: float = LEVEL) -> int | None:
    """Return the number of seeds of each method with which `power` reaches `POWER`, with the same images.

    Returns:
        The number, or None if it is above `MOST_SEEDS`.
    """
    seeds = range(2, MOST_SEEDS + 1)
    place = bisect_left(seeds, POWER, key=lambda n: power(variances, delta, n, 1.0, level))
    return seeds[place] if place < len(seeds) else None


def images_needed(
    variances: Difference, delta: float, seeds: int, images: int, level: float = LEVEL
) -> int | None:
    """Return the number of images with which `power` reaches `POWER`, with `seeds` seeds of each method.

    Args:
        variances: See `power`.
        delta: See `power`.
        seeds: Number of seeds of each method.
        images: Number of images of `variances`.
        level: See `power`.

    Returns:
        The number, or None if it is above `MOST_IMAGES`: the variance between seeds alone is too large.
    """
    numbers = range(2, MOST_IMAGES + 1)
    place = bisect_left(numbers, POWER, key=lambda n: power(variances, delta, seeds, n / images, level))
    return numbers[place] if place < len(numbers) else None
