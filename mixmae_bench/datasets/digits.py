"""Scenes for the benchmark's four tasks, painted from scikit-learn's 1797 real handwritten digits.

All data is generated from the digits that ship with scikit-learn, so nothing is downloaded.
Every scene shows one digit on a random background, so pretraining serves all tasks alike.
Labelled and validation scenes have as many digits of each class.
The sets model few labels and many unlabelled images: labelled training scenes show a small
subset of the training digits, pretraining scenes show all of them.
The source digits are split before any scene is painted: no validation digit occurs in a
training or pretraining scene. (scikit-learn does not record who wrote which digit, so one
writer may occur in both splits.)

The folder has the layouts that mmpretrain, mmdet and mmseg read (`NNNNN` counts from 00000):

    splits.json                                            source digits per split, used per set
    pretrain/NNNNN.png                                     32x32 like all images; no labels
    classification/{train,val}/{0..9}/NNNNN.png            folder = label
    detection/{train2017,val2017}/NNNNN.png
    detection/annotations/instances_{train,val}2017.json   COCO boxes and polygons
    segmentation/images/{training,validation}/NNNNN.png    ADE20K has .jpg: set img_suffix
    segmentation/annotations/{training,validation}/NNNNN.png   uint8 labels, see `SEG_CLASSES`
"""

import hashlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmae_bench.system.files import cache_folder

# Increase with every change of the generated data; the cache folder has the version in its name.
VERSION = 3

EMBEDDED = "data/digits"
"""Placeholder for the embedded digits in configs; `find_data` replaces it by the cache folder."""

CLASSES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
# Stored as 1..11, for mmseg's `reduce_zero_label=True`. ADE20K's 0 (other, ignored) never occurs.
SEG_CLASSES = ("background", *CLASSES)

SIDE, SIZES = 32, (22, 32)  # px: scene side; a digit's longer side, both ends included
GROUND_CELL = 8  # px between the random colours of a background
GROUND_TOP, GROUND_SPREAD = 0.5, 0.12  # brightest mean colour of a background, and its standard deviation
TINT_BOTTOM = 0.5  # darkest channel of a digit: digits are lighter than the background
MIN_CONTRAST = 0.25  # luma between a digit's tint and any background pixel under it
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
POLYGON_ZOOM = 8  # polygon corners are exact to half a pixel of the zoomed mask


@dataclass(frozen=True)
class DigitsConfig:
    """Settings of the generated data: the seed, source digits per split, scenes per set.

    Args:
        seed: Seed of the splits and the scenes.
        train_sources: Source digits of the pretraining scenes; the others of the 1797 are for validation.
        labelled_sources: Those of `train_sources` that occur in labelled training scenes.
        pretrain: Scenes, as for all other arguments.

    Raises:
        ValueError: If the seed is negative, a set has fewer than ten scenes (classification needs
            one per class), fewer than ten digits are for validation, or fewer than ten of
            `train_sources` are only in pretraining scenes.
    """

    seed: int = 0
    train_sources: int = 1400
    labelled_sources: int = 250
    pretrain: int = 4000
    classification_train: int = 500
    classification_val: int = 800
    detection_train: int = 100
    detection_val: int = 400
    segmentation_train: int = 500
    segmentation_val: int = 400

    def __post_init__(self) -> None:
        limits = {
            "seed": (0, 99999),
            "train_sources": (20, 1787),
            "labelled_sources": (10, self.train_sources - 10),
        }
        for name, value in asdict(self).items():
            least, most = limits.get(name, (10, 99999))
            if not least <= value <= most:
                raise ValueError(f"DigitsConfig.{name} must lie in {least}..{most}, got {value}")


def build_digits(root: Path | None = None, config: DigitsConfig = DigitsConfig()) -> Path:
    """Write the data sets, unless they exist, and return their folder.

    The same config gives the same bytes (with the same versions of numpy, OpenCV and Pillow).
    The scenes are written to a hidden sibling folder that is renamed at the end. So several
    processes may build at once, and a killed process leaves no incomplete data set, only a
    hidden `.digits-*.tmp-*` folder that can be deleted.

    Args:
        root: Parent of the data set's folder; default `$MIXMAE_BENCH_CACHE`, else
            `~/.cache/mixmae_bench`.
        config: Settings of the data.

    Returns:
        `root/digits-v{VERSION}-{hash of config}`, in the layout of the module's docstring.

    Raises:
        OSError: If the folder cannot be written or contains an incomplete data set. The message is
            one line with the path and the remedy.
    """
    root = cache_folder() if root is None else root.expanduser().absolute()
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:8]
    target = root / f"digits-v{VERSION}-{digest}"
    if _is_complete(target):
        return target
    work = root / f".{target.name}.tmp-{uuid.uuid4().hex}"
    try:
        work.mkdir(parents=True)
        _paint_all(work, config)
        _publish(work, target)
    except OSError as error:
        raise OSError(
            f"cannot write the digits data set to {target} ({error.strerror or error}): "
            "set MIXMAE_BENCH_CACHE to a folder that can be written"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not _is_complete(target):
        raise OSError(f"{target} holds an incomplete digits data set; delete the folder and start again")
    return target


def settings_of(folder: Path, tasks: set[str]) -> dict[str, int]:
    """Return the version and the settings that decide the scenes of some tasks.

    Args:
        folder: A folder that `build_digits` wrote.
        tasks: Names of folders in it, such as 'pretrain'. If one is not there, all settings are returned.
    """
    record = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    known = {path.name for path in folder.iterdir() if path.is_dir()}
    others = tuple(known - tasks) if tasks and tasks <= known else ()
    own = {name: value for name, value in record["config"].items() if not name.startswith(others)}
    return {"version": record["version"], **own}


def _is_complete(folder: Path) -> bool:
    """Return whether a build finished: `splits.json` is written last."""
    # os.path.isfile returns False if permission is denied; Path.is_file would raise.
    return os.path.isfile(folder / "splits.json")


def _publish(work: Path, target: Path) -> None:
    """Rename the finished folder; if another process was first, keep its identical folder."""
    try:
        work.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _paint_all(folder: Path, config: DigitsConfig) -> None:
    """Write all sets; each has its own random stream, so the size of one set does not affect the others."""
    # Imported here: the import takes a second, and a cached data set does not need it.
    from sklearn.datasets import load_digits

    digits = load_digits()
    sources = _split(digits.target, config)
    sets = (
        (_write_pretrain, "pretrain", "train", config.pretrain),
        (_write_classification, "classification/train", "labelled", config.classification_train),
        (_write_classification, "classification/val", "val", config.classification_val),
        (_write_detection, "detection/train2017", "labelled", config.detection_train),
        (_write_detection, "detection/val2017", "val", config.detection_val),
        (_write_segmentation, "segmentation/images/training", "labelled", config.segmentation_train),
        (_write_segmentation, "segmentation/images/validation", "val", config.segmentation_val),
    )
    used = {}
    for stream, (write, name, split, count) in enumerate(sets):
        rng = np.random.default_rng([VERSION, config.seed, stream])
        painter = _Painter(digits.images, digits.target, sources[split], rng)
        write(folder / name, painter, count)
        used[name] = sorted(painter.used)
    record = {
        "version": VERSION,
        "config": asdict(config),
        "sources": {split: sorted(indices.tolist()) for split, indices in sources.items()},
        "used": used,
    }
    (folder / "splits.json").write_text(json.dumps(record), encoding="utf-8")


def _split(labels: NDArray[np.int_], config: DigitsConfig) -> dict[str, NDArray[np.int_]]:
    """Return the indices of the source digits per split, "labelled" being a part of "train".

    All splits have the class frequencies of `labels`.
    """
    from sklearn.model_selection import train_test_split

    train, val = train_test_split(
        np.arange(len(labels)), train_size=config.train_sources, stratify=labels, random_state=config.seed
    )
    labelled, _ = train_test_split(
        train, train_size=config.labelled_sources, stratify=labels[train], random_state=config.seed
    )
    return {"train": train, "labelled": labelled, "val": val}


def _write_pretrain(folder: Path, painter: "_Painter", count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        _save(folder / f"{number:05d}.png", painter.paint(painter.any_label()).image)


def _write_classification(folder: Path, painter: "_Painter", count: int) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for number in range(count):
        label = number % len(CLASSES)
        _save(folder / CLASSES[label] / f"{number:05d}.png", painter.paint(label).image)


def _write_detection(folder: Path, painter: "_Painter", count: int) -> None:
    """Write the images to `folder` and the COCO file to its sibling `annotations`."""
    folder.mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        name = f"{number:05d}.png"
        scene = painter.paint(number % len(CLASSES))
        _save(folder / name, scene.image)
        images.append({"id": number + 1, "file_name": name, "width": SIDE, "height": SIDE})
        annotations.append(
            {
                # From 1: pycocotools reads a match with annotation 0 as no match.
                "id": number + 1,
                "image_id": number + 1,
                "category_id": scene.label + 1,
                "bbox": _box(scene.mask),
                "area": int(scene.mask.sum()),
                "segmentation": _polygons(scene.mask),
                "iscrowd": 0,
            }
        )
    coco = {
        "info": {"description": "handwritten digits, mixmae_bench"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)],
    }
    path = folder.parent / "annotations" / f"instances_{folder.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(coco), encoding="utf-8")


def _write_segmentation(folder: Path, painter: "_Painter", count: int) -> None:
    """Write the images to `folder` (`.../images/split`) and the labels to `.../annotations/split`."""
    label_folder = folder.parents[1] / "annotations" / folder.name
    folder.mkdir(parents=True)
    label_folder.mkdir(parents=True)
    for number in range(count):
        scene = painter.paint(number % len(CLASSES))
        stored = np.where(scene.mask, scene.label + 2, 1).astype(np.uint8)
        _save(folder / f"{number:05d}.png", scene.image)
        _save(label_folder / f"{number:05d}.png", stored)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, compress_level=1)


def _box(mask: NDArray[np.bool_]) -> list[int]:
    """Return the COCO box `[x, y, width, height]` (px) of the true pixels."""
    return [int(value) for value in cv2.boundingRect(mask.astype(np.uint8))]


def _polygons(mask: NDArray[np.bool_]) -> list[list[float]]:
    """Return the outline of the true pixels as COCO polygons, `[x0, y0, x1, y1, ...]` in px.

    COCO polygons have no holes, so the mask is split at a column through each hole (of a 0, 6, 8
    or 9), and each piece is outlined.
    """
    pixels = mask.astype(np.uint8)
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cuts = {0, mask.shape[1]}
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        if parent >= 0:  # the outline of a hole
            x, _, width, _ = cv2.boundingRect(contour)
            cuts.add(x + width // 2)
    polygons = []
    for left, right in pairwise(sorted(cuts)):
        # OpenCV's outlines run through pixel centres; in the zoomed mask these are near the pixels' edges.
        zoomed = np.kron(pixels[:, left:right], np.ones((POLYGON_ZOOM, POLYGON_ZOOM), np.uint8))
        pieces, _ = cv2.findContours(zoomed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for piece in pieces:
            corners = (piece.reshape(-1, 2) + 0.5) / POLYGON_ZOOM + (left, 0)
            polygons.append(corners.ravel().tolist())
    return polygons


@dataclass(frozen=True)
class _Scene:
    """A painted scene.

    image: (H, W, 3) uint8 RGB. mask: (H, W), the digit's pixels. label: its class, 0..9.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    label: int


class _Painter:
    """Paints scenes from the given source digits and records in `used` which ones occur.

    Args:
        images: (N, 8, 8), ink from 0 to 16.
        labels: (N,), 0..9.
        sources: Indices of the digits that may be used.
        rng: Random number generator.
    """

    def __init__(self, images: NDArray, labels: NDArray, sources: NDArray, rng: np.random.Generator) -> None:
        self.used: set[int] = set()
        self._images = images
        self._by_class = [sources[labels[sources] == label] for label in range(len(CLASSES))]
        self._waiting: list[list[int]] = [[] for _ in CLASSES]
        self._rng = rng

    def any_label(self) -> int:
        """Return a random class, 0..9."""
        return int(self._rng.integers(len(CLASSES)))

    def paint(self, label: int) -> _Scene:
        """Paint a (SIDE, SIDE) px scene with a digit of the class."""
        cells = SIDE // GROUND_CELL
        ground = GROUND_TOP * self._rng.random(3) + GROUND_SPREAD * self._rng.standard_normal(
            (cells, cells, 3)
        )
        image = np.clip(cv2.resize(ground, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0, 1)
        index = self._draw(label)
        self.used.add(index)
        alpha = _ink(self._images[index], self._rng.integers(*SIZES, endpoint=True))
        y, x = (int(self._rng.integers(SIDE - extent, endpoint=True)) for extent in alpha.shape)
        region = (slice(y, y + alpha.shape[0]), slice(x, x + alpha.shape[1]))
        tint = self._tint(image[region][alpha > 0.5])
        image[region] += alpha[..., None] * (tint - image[region])
        mask = np.zeros((SIDE, SIDE), bool)
        mask[region] = alpha > 0.5
        return _Scene(np.round(image * 255).astype(np.uint8), mask, label)

    def _draw(self, label: int) -> int:
        """Return the next source digit of a class; digits repeat only after all have been used."""
        if not self._waiting[label]:
            self._waiting[label] = self._rng.permutation(self._by_class[label]).tolist()
        return self._waiting[label].pop()

    def _tint(self, ground: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a random colour (3,) that stands out from all of the (N, 3) background pixels."""
        tints = TINT_BOTTOM + (1 - TINT_BOTTOM) * self._rng.random((64, 3))
        contrast = np.abs((tints @ LUMA)[:, None] - ground @ LUMA).min(axis=1)
        # argmax returns the first tint with enough contrast, or else the one with the most.
        return tints[np.argmax(np.minimum(contrast, MIN_CONTRAST))]


def _ink(source: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Enlarge an (8, 8) digit to opacities 0..1; its longer side, with faint edges, is `size` px."""
    large = cv2.resize(np.pad(source / 16, 1).astype(np.float32), (160, 160), interpolation=cv2.INTER_CUBIC)
    # A steeper ramp sharpens the strokes' edges and keeps most holes open.
    large = np.clip((large - 0.25) / 0.4, 0, 1)
    x, y, width, height = cv2.boundingRect((large > 0.1).astype(np.uint8))
    scale = size / max(width, height)
    shape = (round(width * scale), round(height * scale))
    return cv2.resize(large[y : y + height, x : x + width], shape, interpolation=cv2.INTER_AREA)
