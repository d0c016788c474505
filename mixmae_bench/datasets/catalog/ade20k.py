"""ADE20K with the 150 classes of its scene parsing challenge, read by mmseg's ADE20KDataset."""

from pathlib import Path

import numpy as np

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.tiny import SIZE, save_image, save_noise


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    """Write maps of blocks: all values 0 (other) to 150 in training, some of them in validation."""
    for split, count in (("training", 4), ("validation", 3)):
        for number in range(count):
            name = f"ADE_{'train' if split == 'training' else 'val'}_{number + 1:08d}"
            save_noise(root / "images" / split / f"{name}.jpg", rng)
            side = 4 if split == "training" else 8
            rows, columns = SIZE[0] // side, SIZE[1] // side
            blocks = np.resize(rng.permutation(151).astype(np.uint8), rows * columns)
            blocks[0] = 0
            map_ = np.kron(blocks.reshape(rows, columns), np.ones((side, side), np.uint8))
            save_image(root / "annotations" / split / f"{name}.png", map_)


def _part(split: str, images: int) -> Part:
    prefix = dict(img_path=f"images/{split}", seg_map_path=f"annotations/{split}")
    return Part(split, images, 150, (dict(type="ADE20KDataset", _scope_="mmseg", data_prefix=prefix),))


add_dataset(
    DatasetEntry(
        "ade20k",
        "data/ADEChallengeData2016",
        (_part("training", 20_210), _part("validation", 2_000)),
        _make_tiny,
    )
)
