"""Pascal VOC 2012 segmentation, with the training maps of SBD ("aug"), read by mmseg's PascalVOCDataset."""

from pathlib import Path

import numpy as np

from mixmae_bench.datasets.catalog.entry import DatasetEntry, Part, add_dataset
from mixmae_bench.datasets.tiny import SIZE, save_image, save_noise

LISTS = "ImageSets/Segmentation"


def _make_tiny(root: Path, rng: np.random.Generator) -> None:
    """Write maps of blocks: every class in all parts, with borders (255) that are ignored."""
    for split, folder, count in (
        ("train", "SegmentationClass", 3),
        ("aug", "SegmentationClassAug", 3),
        ("val", "SegmentationClass", 2),
    ):
        names = [f"2012_{split}{number:03d}" for number in range(count)]
        for name in names:
            save_noise(root / "JPEGImages" / f"{name}.jpg", rng)
            blocks = np.resize(
                rng.permutation([*range(21), 255]).astype(np.uint8), (SIZE[0] // 4, SIZE[1] // 4)
            )
            save_image(root / folder / f"{name}.png", np.kron(blocks, np.ones((4, 4), np.uint8)))
        file = root / LISTS / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(names) + "\n", encoding="utf-8")


def _part(split: str, folder: str, images: int) -> Part:
    layout = dict(
        type="PascalVOCDataset",
        _scope_="mmseg",
        data_prefix=dict(img_path="JPEGImages", seg_map_path=folder),
        ann_file=f"{LISTS}/{split}.txt",
    )
    return Part(split, images, 21, (layout,))


add_dataset(
    DatasetEntry(
        "voc2012",
        "data/VOCdevkit/VOC2012",
        (
            _part("train", "SegmentationClass", 1_464),
            _part("aug", "SegmentationClassAug", 9_118),
            _part("val", "SegmentationClass", 1_449),
        ),
        _make_tiny,
    )
)
