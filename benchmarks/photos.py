"""JPEG files similar to ImageNet's, made from scikit-learn's two photos."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

SIZES = [(500, 375)] * 6 + [(500, 333)] * 2 + [(375, 500)] * 2 + [(333, 500), (400, 400), (600, 400)]
"""Widths and heights, px; the most common in ImageNet is 500x375."""

GRAIN = 6.0
"""Standard deviation of the simulated sensor noise, grey levels."""


def make_photos(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write `count` photos into a folder: resized crops of two photos, with noise, some mirrored.

    JPEG quality is 92 to 96 and chroma is subsampled (4:2:0), as in most of ImageNet: about 100 kB each.
    """
    rng = np.random.default_rng(seed)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]  # 640x427
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        width, height = SIZES[rng.integers(len(SIZES))]
        photo = photos[number % len(photos)]
        if width < height:
            photo = photo.transpose(Image.Transpose.ROTATE_90)
        if rng.random() < 0.5:
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        scale = rng.uniform(1, min(photo.width / width, photo.height / height))
        left, top = rng.uniform(0, (photo.width - scale * width, photo.height - scale * height))
        box = (left, top, left + scale * width, top + scale * height)
        pixels = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS, box))
        grainy = (pixels + rng.normal(0, GRAIN, pixels.shape)).clip(0, 255).round().astype(np.uint8)
        paths.append(folder / f"{number:05d}.JPEG")
        Image.fromarray(grainy).save(paths[-1], quality=int(rng.integers(92, 97)), subsampling="4:2:0")
    return paths
