"""Resamples of the evaluated images, for standard errors over images.

A standard error estimates how much a value would vary on another sample of as many images from the same
distribution. Top-1 is a mean of independent zeros and ones, so its standard error is binomial. AP and mIoU
are not means over images, so theirs is bootstrapped (Efron 1979): the metric is computed on resamples of the
images, drawn with replacement, and its standard deviation over the resamples is the standard error. A
resample is a vector of weights, the number of times each image is drawn. The metric is computed from
per-image outcomes and these weights (see `mixmae_bench.results.outcomes`), without another evaluation.

The weights depend on the number of images only. Two runs that are evaluated on the same images therefore have
the same resamples, and the differences of their values are paired.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 200
"""Number of resamples. With 200, the standard error itself has a relative error of about 5 %."""


def resample_weights(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield the weights (images,) of each resample: the number of times each image is drawn."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(images, size=images), minlength=images)


def top1_error(top1: float, images: int) -> float:
    """Return the standard error of an accuracy, both in percent: sqrt(p (1 - p) / n)."""
    return (top1 * (100 - top1) / images) ** 0.5


def spread(resampled: NDArray[np.float64]) -> float:
    """Return the standard error of a value from its values on the resamples (resamples,)."""
    return float(np.nanstd(resampled, ddof=1))
