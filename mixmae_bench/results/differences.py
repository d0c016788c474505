"""Differences of two methods, with seeds and images both resampled. Does not import torch.

The value of a run varies with its seed and with the images that it is evaluated on. Each method has its own
seeds, and all runs have the same images. So the variance of the difference of two means over seeds has two
parts:

- seeds: for each method, the variance between its seeds / number of seeds. Two runs with the same seed are
  treated as independent (docs/statistics.md).
- images: the variance of the difference over resamples of the images, the same resample for all runs. It also
  contains the variance of single runs over images, which is in the variance between seeds already, and is
  subtracted here.

This is the variance of a mean in a crossed design of two random factors, (MS_seeds + MS_images -
MS_interaction) / (seeds x images) with mean squares MS.

The critical value of the test is the mean of those of Student's t for each part, weighted by its variance
(Cochran and Cox, Experimental Designs, 1957, section 4.14), with seeds - 1 degrees of freedom for the seeds
of a method and resamples - 1 for the images. Unlike the degrees of freedom of Welch and Satterthwaite, it
keeps the level for two or three seeds too (docs/statistics.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit  # t.isf, without its overhead
from scipy.stats import binomtest

LEVEL = 0.05
"""Level of the tests, two-sided."""


@dataclass(frozen=True)
class Runs:
    """Values of a metric for the runs of one method; leading dimensions are independent repetitions.

    Attributes:
        values: Value per seed (..., seeds).
        resampled: Values on the resamples of the images (..., seeds, resamples), or None if they are not
            recorded.
    """

    values: NDArray[np.float64]
    resampled: NDArray[np.float64] | None = None

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return self.values.shape[-1]

    def between(self) -> NDArray[np.float64]:
        """Return the variance between seeds (...,)."""
        return self.values.var(axis=-1, ddof=1)

    def interaction(self) -> NDArray[np.float64]:
        """Return the variance over images of a run without what all seeds share (...,)."""
        own = self.resampled - self.resampled.mean(axis=-2, keepdims=True)
        return own.var(axis=-1, ddof=1).sum(axis=-1) / (self.seeds - 1)


@dataclass(frozen=True)
class Difference:
    """The difference of two methods, the first minus the second; arrays have the shape of the repetitions.

    Attributes:
        estimate: Difference of the means over seeds.
        between: Variance between seeds of each method.
        interaction: The part of `between` that comes from the images, of each method; 0 if not recorded.
        images: Variance of the difference over images that all seeds share, or 0 if not recorded.
        seeds: Number of seeds of each method.
        resamples: Number of resamples of the images, or 0 if not recorded.
    """

    estimate: NDArray[np.float64]
    between: tuple[NDArray[np.float64], NDArray[np.float64]]
    interaction: tuple[NDArray[np.float64], NDArray[np.float64]]
    images: NDArray[np.float64]
    seeds: tuple[int, int]
    resamples: int

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard error of the estimate."""
        return np.sqrt(sum(_over_seeds(self.between, self.seeds)) + self.images)

    def interval(self, level: float = LEVEL) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the confidence interval at 1 - level."""
        half = self.error * critical_value(self.between, self.images, self.seeds, self.resamples, level)
        return self.estimate - half, self.estimate + half

    def p_value(self) -> float:
        """Return the two-sided p value of no difference, for a single difference.

        It is 1 without any variance, such as that of two seeds with the same rounded value.
        """
        if not self.error:
            return 1.0
        size = abs(float(self.estimate / self.error))

        def excess(log_p: float) -> float:
            p = float(np.exp(log_p))
            return float(critical_value(self.between, self.images, self.seeds, self.resamples, p)) - size

        smallest = -100.0
        return float(np.exp(brentq(excess, smallest, 0.0) if excess(smallest) > 0 else smallest))


def difference(first: Runs, second: Runs) -> Difference:
    """Return the difference of two methods.

    The part of the images is left out if one of them has no values on resamples.

    Raises:
        ValueError: If one of them has fewer than two seeds.
    """
    both = (first, second)
    if min(runs.seeds for runs in both) < 2:
        raise ValueError("a difference over seeds needs two seeds of each method")
    estimate = first.values.mean(-1) - second.values.mean(-1)
    zero = np.zeros_like(estimate)
    interaction, images, resamples = (zero, zero), zero, 0
    if first.resampled is not None and second.resampled is not None:
        interaction = (first.interaction(), second.interaction())
        resampled = first.resampled.mean(-2) - second.resampled.mean(-2)
        own = sum(_over_seeds(interaction, (first.seeds, second.seeds)))
        images = np.maximum(resampled.var(-1, ddof=1) - own, 0)
        resamples = resampled.shape[-1]
    return Difference(
        estimate,
        (first.between(), second.between()),
        interaction,
        images,
        (first.seeds, second.seeds),
        resamples,
    )


def critical_value(
    between: Sequence[NDArray], images: NDArray, seeds: Sequence[int], resamples: int, level: float
) -> NDArray[np.float64]:
    """Return the number of standard errors from which a difference is significant; see the module."""
    parts, freedoms = [*_over_seeds(between, seeds), images], [*seeds, resamples or 2]
    values = [-part * stdtrit(n - 1, level / 2) for part, n in zip(parts, freedoms, strict=True)]
    return sum(values) / np.maximum(sum(parts), np.finfo(float).tiny)


def image_difference(first: Runs, second: Runs) -> tuple[float, float]:
    """Return the difference of the given models, and its standard error over images alone.

    It says nothing about models of other seeds.
    """
    resampled = first.resampled.mean(-2) - second.resampled.mean(-2)
    return float(first.values.mean() - second.values.mean()), float(resampled.std(ddof=1))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the exact p value of McNemar's test that two given classifiers have the same accuracy.

    Args:
        first: Whether the first one is correct (images,).
        second: Whether the second one is correct on the same images (images,).
    """
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number (Holm, Scand. J. Statist. 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()


def _over_seeds(variances: Sequence[NDArray], seeds: Sequence[int]) -> list[NDArray]:
    """Return the variance of each method's mean over seeds."""
    return [variance / n for variance, n in zip(variances, seeds, strict=True)]
