"""Cityscapes with its 19 classes of evaluation, read by mmseg's CityscapesDataset.

The maps `*_gtFine_labelTrainIds.png` are made by the script createTrainIdLabelImgs.py of the data set.
"""

from pathlib import Path

import numpy as np

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.tiny import SIZE, save_image, save_noise


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    """Write maps of blocks: every class in both parts, and 255, which is ignored."""
    for split, city, count in (("train", "aachen", 3), ("val", "munster", 2)):
        for number in range(count):
            name = f"{city}_{number:06d}_000019"
            save_noise(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", rng)
            blocks = np.resize(
                rng.permutation([*range(19), 255]).astype(np.uint8), (SIZE[0] // 4, SIZE[1] // 4)
            )
            path = root / "gtFine" / split / city / f"{name}_gtFine_labelTrainIds.png"
            save_image(path, np.kron(blocks, np.ones((4, 4), np.uint8)))


def _part(split: str, images: int) -> Part:
    prefix = dict(img_path=f"leftImg8bit/{split}", seg_map_path=f"gtFine/{split}")
    return Part(split, images, 19, (dict(type="CityscapesDataset", _scope_="mmseg", data_prefix=prefix),))


add_dataset(
    DatasetEntry("cityscapes", "data/cityscapes", (_part("train", 2_975), _part("val", 500)), _make_tiny)
)
