"""Noise images for tiny data sets."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (56, 48)
"""Height and width of the images in px."""


def save_noise(path: Path, rng: np.random.Generator) -> None:
    """Write an RGB noise image, (*SIZE, 3), and create its folder."""
    save_image(path, rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))


def save_image(path: Path, pixels: np.ndarray) -> None:
    """Write a uint8 image and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
