"""Standard errors of metrics over the images that they are computed on.

They answer how much a value would differ on as many other images from the same source. Top-1 is a mean of
independent zeros and ones: binomial. AP and mIoU are no means over images: bootstrap (Efron 1979), which
draws as many images with replacement, computes the metric on those, and takes the standard deviation over
the draws. A draw is a vector of how often each image is in it; the metric is computed from per-image counts
with these weights, never by evaluating again.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

RESAMPLES = 200
"""Draws: the standard error is then itself known to about 5 %."""

MAX_DETECTIONS = 100
"""Per image, as in COCO's AP."""


def resample_weights(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield how often each of `images` images is in each of `resamples` draws."""
    generator = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(generator.integers(images, size=images), minlength=images)


def top1_error(top1: float, images: int) -> float:
    """Return the standard error of an accuracy, both in percent: sqrt(p (1 - p) / n)."""
    return (top1 * (100 - top1) / images) ** 0.5


def miou_error(intersections: NDArray, unions: NDArray) -> float:
    """Return the standard error of mIoU in percent.

    Args:
        intersections: Pixels of each image where prediction and label are class c (images, classes).
        unions: Pixels where one of them is (images, classes).
    """
    return _spread(
        [miou(weights @ intersections, weights @ unions) for weights in resample_weights(len(unions))]
    )


def miou(intersections: NDArray, unions: NDArray) -> float:
    """Return the mean IoU in percent of classes that occur, from pixels over all images (classes,)."""
    occurs = unions > 0
    return 100 * float(np.mean(intersections[occurs] / unions[occurs])) if occurs.any() else float("nan")


def ap_error(evaluation: COCOeval) -> float:
    """Return the standard error of AP (IoU 0.50:0.95, all areas) in percent.

    Args:
        evaluation: After `evaluate()`.
    """
    classes = [_ClassMatches(evaluation, k) for k in range(len(evaluation.params.catIds))]
    images, recalls = len(evaluation.params.imgIds), evaluation.params.recThrs
    return _spread([ap(classes, weights, recalls) for weights in resample_weights(images)])


def ap(classes: list["_ClassMatches"], weights: NDArray, recalls: NDArray) -> float:
    """Return the AP in percent where image i counts `weights[i]` times; NaN without any object."""
    precisions = [c.precision(weights, recalls) for c in classes]
    found = [p for p in precisions if p is not None]
    return 100 * float(np.mean(found)) if found else float("nan")


class _ClassMatches:
    """Which detections of a class matched, in the order of their scores.

    A detection that counts twice stands where it stands once: copies have the same score. Precision at a
    recall is the largest at any later detection, and between two copies it is never larger than after both.
    So sums of weights give what COCOeval gives on the copied images.
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
        order = np.argsort(-scores, kind="mergesort")  # COCOeval's, which keeps ties in their order
        matched = np.concatenate([e["dtMatches"][:, :MAX_DETECTIONS] for _, e in kept], axis=1)[:, order] > 0
        counts = np.concatenate([e["dtIgnore"][:, :MAX_DETECTIONS] for _, e in kept], axis=1)[:, order] == 0
        sizes = [min(len(e["dtScores"]), MAX_DETECTIONS) for _, e in kept]
        self.image = np.repeat([i for i, _ in kept], sizes)[order]
        self.hits, self.misses = matched & counts, ~matched & counts

    def precision(self, weights: NDArray, recalls: NDArray) -> NDArray | None:
        """Return the precision at each IoU and recall (IoUs, recalls), or None where there is no object."""
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
