"""Per-image outcomes of an evaluation: one file per run, from which its metrics can be recomputed.

The file `outcomes/KEY.npz` is in the folder of `records.jsonl`; KEY is the key of the record, which names the
file and its hash. The arrays in it are:

- `version`: `VERSION`
- `images`: names of the images (images,), in the order of all indices
- for each metric, with the metric's name as prefix: `NAME.kind`, a name of `KINDS`; `NAME.FIELD` for each
  field of the kind; `NAME.resampled`, the metric on the resamples of `results.bootstrap` (resamples,)

Does not import torch.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mixmae_bench.errors import UserError
from mixmae_bench.results.bootstrap import resample_weights
from mixmae_bench.system.files import write_atomically

VERSION = 1
"""Version of the arrays in a file."""

FOLDER = "outcomes"
"""Folder of the files, in the folder of `records.jsonl`."""

MAX_DETECTIONS = 100
"""Detections per image and class, as in COCO's AP."""

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which COCO's AP averages the precision."""


@dataclass(frozen=True)
class Classified:
    """Outcomes of a classifier.

    Attributes:
        correct: Whether the class with the highest score is the true one (images,).
        margin: Logit of the true class minus the largest other logit (images,), NaN if the classifier
            returns labels only.
    """

    correct: NDArray[np.bool_]
    margin: NDArray[np.float32]

    rounding: ClassVar[float] = 1e-3  # mmpretrain divides in float32

    def value(self, weights: NDArray) -> float:
        """Return the top-1 accuracy in percent if image i counts `weights[i]` times."""
        return 100 * float(weights @ self.correct) / float(weights.sum())

    def absent_classes(self) -> list[str]:
        """Return no class: all images count."""
        return []


@dataclass(frozen=True)
class Detected:
    """Matched detections of an instance detector, up to `MAX_DETECTIONS` per image and class.

    The detections are sorted by class, then by score, highest first. Detections with the same score are in
    the order of their images, as in COCOeval.

    Attributes:
        image: Index of the image (detections,).
        category: Index of the class (detections,).
        score: Score (detections,).
        hit: Whether an object is matched, by IoU threshold (detections, thresholds).
        ignored: Whether the detection does not count, as its object is a crowd (detections, thresholds).
        objects: Number of objects that count (images, classes).
        classes: Names of the classes.
    """

    image: NDArray[np.int32]
    category: NDArray[np.int16]
    score: NDArray[np.float32]
    hit: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: NDArray[np.uint16]
    classes: NDArray[np.str_]

    rounding: ClassVar[float] = 0.0501  # mmdet rounds AP to 0.1 %

    def value(self, weights: NDArray) -> float:
        """Return the AP (IoU 0.50:0.95, all areas) in percent if image i counts `weights[i]` times.

        It is NaN without objects. Weights give the same AP as COCOeval on copied images: copies of a
        detection have the same score, so they are adjacent, and precision at a recall is the maximum over all
        later detections, which never lies between two copies.
        """
        objects = weights @ self.objects.astype(np.int64)
        found = [np.mean(self._precision(k, weights, objects[k])) for k in np.flatnonzero(objects)]
        return 100 * float(np.mean(found)) if found else float("nan")

    def absent_classes(self) -> list[str]:
        """Return the classes without an object: AP leaves them out."""
        return self.classes[~self.objects.any(axis=0)].tolist()

    @cached_property
    def _by_class(self) -> list[tuple[NDArray, NDArray, NDArray]]:
        """Return per class: images (detections,), hits and misses (thresholds, detections)."""
        ends = np.searchsorted(self.category, np.arange(len(self.classes) + 1))
        hits, misses = (self.hit & ~self.ignored).T, (~self.hit & ~self.ignored).T
        parts = [slice(start, end) for start, end in pairwise(ends)]
        return [(self.image[part], hits[:, part], misses[:, part]) for part in parts]

    def _precision(self, category: int, weights: NDArray, objects: int) -> NDArray:
        """Return the precision of a class at each IoU and recall (thresholds, recalls)."""
        image, hit, miss = self._by_class[category]
        drawn = weights[image]
        hits, misses = np.cumsum(hit * drawn, axis=1), np.cumsum(miss * drawn, axis=1)
        precision = hits / (hits + misses + np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        out = np.zeros((len(hits), len(RECALLS)))
        for row, reached, best in zip(out, hits / objects, precision, strict=True):
            places = np.searchsorted(reached, RECALLS)
            inside = places < len(best)
            row[inside] = best[places[inside]]
        return out


@dataclass(frozen=True)
class Segmented:
    """Confusion counts of a semantic segmentation: the nonzero cells of every image.

    Attributes:
        image: Index of the image (cells,).
        truth: Index of the labelled class (cells,); the number of classes for a label that is no class.
        prediction: Index of the predicted class (cells,).
        pixels: Number of pixels (cells,).
        images: Number of images, as array ().
        classes: Names of the classes.
    """

    image: NDArray[np.int32]
    truth: NDArray[np.int16]
    prediction: NDArray[np.int16]
    pixels: NDArray[np.int32]
    images: NDArray[np.int32]
    classes: NDArray[np.str_]

    rounding: ClassVar[float] = 0.0151  # mmseg rounds to 0.01 %, and sums pixels in float32

    def value(self, weights: NDArray) -> float:
        """Return the mean IoU in percent over the classes that occur if image i counts `weights[i]` times.

        A class occurs if it is in a label or a prediction. The value is NaN if no class occurs.
        """
        intersections, unions = (weights @ areas for areas in self.areas)
        occurs = unions > 0
        return 100 * float(np.mean(intersections[occurs] / unions[occurs])) if occurs.any() else float("nan")

    def absent_classes(self) -> list[str]:
        """Return the classes in neither labels nor predictions: mIoU leaves them out."""
        return self.classes[~self.areas[1].any(axis=0)].tolist()

    @cached_property
    def areas(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Intersections and unions in pixels, each (images, classes)."""
        size = (int(self.images), len(self.classes) + 1)
        intersections, labelled, predicted = (np.zeros(size, np.int64) for _ in range(3))
        right = self.truth == self.prediction
        np.add.at(intersections, (self.image[right], self.truth[right]), self.pixels[right])
        np.add.at(labelled, (self.image, self.truth), self.pixels)
        np.add.at(predicted, (self.image, self.prediction), self.pixels)
        return intersections[:, :-1], (labelled + predicted - intersections)[:, :-1]


Part = Classified | Detected | Segmented
"""Outcomes of one metric. `value(weights)` is the metric, `rounding` how far the evaluator's may differ."""

KINDS: dict[str, type[Part]] = {"classified": Classified, "detected": Detected, "segmented": Segmented}


@dataclass(frozen=True)
class Outcomes:
    """Per-image outcomes of an evaluation.

    Attributes:
        images: Names of the images.
        parts: Outcomes by metric.
        resampled: The metric on the resamples of `results.bootstrap` (resamples,), by metric.
    """

    images: tuple[str, ...]
    parts: dict[str, Part]
    resampled: dict[str, NDArray[np.float64]]

    def value(self, metric: str) -> float:
        """Return a metric, recomputed from the outcomes of all images."""
        return self.parts[metric].value(np.ones(len(self.images), np.int64))

    def absent_classes(self) -> list[str]:
        """Return the names of the classes that AP or mIoU leave out, as they occur in no image."""
        return list(dict.fromkeys(name for part in self.parts.values() for name in part.absent_classes()))


def make_outcomes(images: Sequence[str], parts: Mapping[str, Part]) -> Outcomes:
    """Return outcomes with the values of their metrics on the resamples."""
    weights = list(resample_weights(len(images)))
    resampled = {name: np.array([part.value(w) for w in weights]) for name, part in parts.items()}
    return Outcomes(tuple(images), dict(parts), resampled)


def check_values(outcomes: Outcomes, metrics: Mapping[str, float]) -> None:
    """Recompute every metric from its outcomes, and compare it with the evaluator's value.

    Raises:
        ValueError: If a value differs by more than the rounding of the evaluator.
    """
    for name, part in outcomes.parts.items():
        value = outcomes.value(name)
        if not abs(value - metrics[name]) <= part.rounding and not np.isnan(value):
            raise ValueError(
                f"{name} is {value:.4f} from the outcomes of {len(outcomes.images)} images, but "
                f"{metrics[name]:.4f} from the evaluator"
            )


def write_outcomes(path: Path, outcomes: Outcomes) -> str:
    """Write outcomes atomically; the same outcomes give the same bytes.

    Returns:
        The first 16 hex digits of the file's SHA-256.

    Raises:
        UserError: If the file cannot be written.
    """
    arrays = {"version": np.array(VERSION), "images": np.array(outcomes.images)}
    kinds = {kind: name for name, kind in KINDS.items()}
    for name, part in outcomes.parts.items():
        arrays[f"{name}.kind"] = np.array(kinds[type(part)])
        arrays |= {f"{name}.{field.name}": getattr(part, field.name) for field in fields(part)}
        arrays[f"{name}.resampled"] = outcomes.resampled[name]
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(path, content.getvalue())
    return _digest(content.getvalue())


def read_outcomes(path: Path, digest: str) -> Outcomes:
    """Read the outcomes of a record.

    Args:
        path: The file.
        digest: First 16 hex digits of its SHA-256, from the record.

    Raises:
        UserError: If the file cannot be read, is not the one that the record names, or has another version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"outcomes {path} cannot be read: {error.strerror}; copy them with the records"
        ) from error
    if _digest(content) != digest:
        raise UserError(f"outcomes {path} are not those of the record (another hash); copy both together")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if (version := int(arrays["version"])) != VERSION:
                raise UserError(f"outcomes {path} have version {version}, not {VERSION}; update this package")
            return _outcomes(arrays)
    except (BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"outcomes {path} are not a file of outcomes: {error}") from error


def _outcomes(arrays: Mapping[str, NDArray]) -> Outcomes:
    parts, resampled = {}, {}
    for key in arrays:
        name, _, field = key.rpartition(".")
        if field == "kind":
            kind = KINDS[str(arrays[key])]
            parts[name] = kind(*(arrays[f"{name}.{own.name}"] for own in fields(kind)))
            resampled[name] = arrays[f"{name}.resampled"]
    return Outcomes(tuple(arrays["images"].tolist()), parts, resampled)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
