"""ImageNet-C: ImageNet-1K's validation images with corruptions of five severities (arXiv 1903.12261)."""

from pathlib import Path

import numpy as np

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.catalog.imagenet import TINY_CLASSES
from mixmae_bench.datasets.tiny import save_noise

CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""Corruptions of the benchmark."""

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Further corruptions, published for validation; they may be missing."""

SEVERITIES = range(1, 6)


def _part(corruption: str, severity: int) -> Part:
    name = f"{corruption}/{severity}"
    layout = dict(type="mixmae_bench.ImageNet", data_prefix=name)
    return Part(name, 50_000, 1000, (layout,), optional=corruption in EXTRA)


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    """Write the corruptions of the benchmark and one of the others."""
    for corruption in (*CORRUPTIONS, EXTRA[0]):
        for severity in SEVERITIES:
            for number, name in enumerate(TINY_CLASSES, 1):
                file = f"ILSVRC2012_val_{number:08d}.JPEG"
                save_noise(root / corruption / str(severity) / name / file, rng)


add_dataset(
    DatasetEntry(
        "imagenet-c",
        "data/imagenet-c",
        tuple(_part(corruption, n) for corruption in (*CORRUPTIONS, *EXTRA) for n in SEVERITIES),
        _make_tiny,
    )
)
