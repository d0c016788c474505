"""Standard errors of metrics over the evaluated images.

They estimate how much a value would vary on another sample of as many images from the same distribution.
Top-1 is a mean of independent zeros and ones, so its standard error is binomial. AP and mIoU are not means
over images, so theirs is bootstrapped (Efron 1979): the metric is computed on resamples of the images, drawn
with replacement, and its standard deviation over the resamples is the standard error. A resample is a vector
of weights, the number of times each image is drawn. The metric is computed from per-image counts and these
weights, without another evaluation.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

RESAMPLES = 200
"""Number of resamples. With 200, the standard error itself has a relative error of about 5 %."""

MAX_DETECTIONS = 100
"""Detections per image, as in COCO's AP."""


def resample_weights(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield the weights (images,) of each resample: the number of times each image is drawn."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(images, size=images), minlength=images)


def top1_error(top1: float, images: int) -> float:
    """Return the standard error of an accuracy, both in percent: sqrt(p (1 - p) / n)."""
    return (top1 * (100 - top1) / images) ** 0.5


def miou_error(intersections: NDArray, unions: NDArray) -> float:
    """Return the standard error of mIoU in percent.

    Args:
        intersections: Pixels per image and class where prediction and label are the class (images, classes).
        unions: Pixels where at least one of them is the class (images, classes).
    """
    return _spread(
        [miou(weights @ intersections, weights @ unions) for weights in resample_weights(len(unions))]
    )


def miou(intersections: NDArray, unions: NDArray) -> float:
    """Return the mean IoU in percent over the classes that occur, from pixel counts (classes,)."""
    occurs = unions > 0
    return 100 * float(np.mean(intersections[occurs] / unions[occurs])) if occurs.any() else float("nan")


def ap_error(evaluation: COCOeval) -> float:
    """Return the standard error of AP (IoU 0.50:0.95, all areas) in percent.

    Args:
        evaluation: COCO evaluation, after `evaluate()`.
    """
    classes = [_ClassMatches(evaluation, k) for k in range(len(evaluation.params.catIds))]
    images, recalls = len(evaluation.params.imgIds), evaluation.params.recThrs
    return _spread([ap(classes, weights, recalls) for weights in resample_weights(images)])


def ap(classes: list["_ClassMatches"], weights: NDArray, recalls: NDArray) -> float:
    """Return the AP in percent if image i counts `weights[i]` times; NaN without objects."""
    precisions = [c.precision(weights, recalls) for c in classes]
    found = [p for p in precisions if p is not None]
    return 100 * float(np.mean(found)) if found else float("nan")


class _ClassMatches:
    """Matches of the detections of a class, sorted by score.

    Weighted sums give the same AP as COCOeval on resampled images: copies of a detection have the same score,
    so they are adjacent, and precision at a recall is the maximum over all later detections, which never lies
    between two copies.
    """

    def __init__(self, evaluation: COCOeval, category: int) -> None:
        parameters = evaluation.params
        images, areas = len(parameters.imgIds), len(parameters.areaRng)
        own = evaluation.evalImgs[category * areas * images :][:images]  # the first area is 'all'
        self.objects = np.array([0 if e is None else np.sum(e["gtIgnore"] == 0) for e in own])
        kept = [(i, e) for i, e in enumerate(own) if e is not None and len(e["dtScores"])]
        self.image = np.zeros(0, dtype=np.int64)
        thresholds = len(parameters.iouThrs)
        self.hits = self.misses = np.zeros((thresholds, 0))
        if not kept:
            return
        scores = np.concatenate([e["dtScores"][:MAX_DETECTIONS] for _, e in kept])
        order = np.argsort(-scores, kind="mergesort")  # stable, as in COCOeval
        matched = np.concatenate([e["dtMatches"][:, :MAX_DETECTIONS] for _, e in kept], axis=1)[:, order] > 0
        counts = np.concatenate([e["dtIgnore"][:, :MAX_DETECTIONS] for _, e in kept], axis=1)[:, order] == 0
        sizes = [min(len(e["dtScores"]), MAX_DETECTIONS) for _, e in kept]
        self.image = np.repeat([i for i, _ in kept], sizes)[order]
        self.hits, self.misses = matched & counts, ~matched & counts

    def precision(self, weights: NDArray, recalls: NDArray) -> NDArray | None:
        """Return the precision at each IoU and recall (IoUs, recalls), or None without objects."""
        objects = float(weights @ self.objects)
        if not objects:
            return None
        drawn = weights[self.image]
        hits, misses = np.cumsum(self.hits * drawn, axis=1), np.cumsum(self.misses * drawn, axis=1)
        precision = hits / (hits + misses + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        out = np.zeros((len(hits), len(recalls)))
        for row, reached, best in zip(out, hits / objects, precision, strict=True):
            places = np.searchsorted(reached, recalls)
            inside = places < len(best)
            row[inside] = best[places[inside]]
        return out


def _spread(values: list[float]) -> float:
    return float(np.nanstd(values, ddof=1))
