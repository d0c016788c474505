"""The lists of ImageNet-100: which classes and images, and how the suite reads them."""

import importlib.util
from pathlib import Path

import pytest

from mixmae_bench.datasets.catalog import make_tiny, published_images
from mixmae_bench.datasets.catalog.imagenet import LISTS_OF_100, TINY_CLASSES, ImageNet

TOOL = Path(__file__).parents[2] / "tools" / "imagenet100_lists.py"


@pytest.fixture
def tool() -> object:
    spec = importlib.util.spec_from_file_location("imagenet100_lists", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imagenet(root: Path, per_class: int) -> None:
    """Write empty files of 100 training classes, one more class, and a flat validation set."""
    from timm.data import ImageNetInfo

    names = ImageNetInfo().label_names()
    (root / "meta").mkdir(parents=True)
    lines = []
    for label in [*range(0, 1000, 10), 5]:
        folder = root / "train" / names[label]
        folder.mkdir(parents=True)
        for number in range(per_class + 1):
            (folder / f"{names[label]}_{number:04d}.JPEG").touch()
        lines += [f"ILSVRC2012_val_{label * 100 + number:08d}.JPEG {label}" for number in range(50)]
    (root / "val").mkdir()
    (root / "meta/val.txt").write_text("\n".join(lines), encoding="utf-8")


def test_lists_have_the_first_images_of_every_tenth_class_and_are_read_with_their_labels(
    tool: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    imagenet(tmp_path, 3)
    sizes = {name: (split, {"train": 3, "val": 50}[split]) for name, (split, _) in LISTS_OF_100.items()}
    monkeypatch.setattr(tool, "LISTS_OF_100", sizes)
    assert tool.main([str(tmp_path)]) == 0
    assert f"{tmp_path / 'meta/imagenet100_train.txt'}: 300 images" in capsys.readouterr().out
    for name, (split, images) in sizes.items():
        data = ImageNet(str(tmp_path), data_prefix=split, ann_file=name, pipeline=[])
        assert {item["gt_label"] for item in data} == set(range(0, 1000, 10))
        assert len(data) == 100 * images
        if split == "train":
            assert not any(item["img_path"].endswith("_0003.JPEG") for item in data)


def test_too_few_images_of_a_class_are_one_line(
    tool: object, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    imagenet(tmp_path, 3)
    assert tool.main([str(tmp_path)]) == 2
    assert "has 4 images of class 0, fewer than 700" in capsys.readouterr().err
    assert not list((tmp_path / "meta").glob("imagenet100*"))


def test_the_tiny_copy_has_the_lists_and_the_catalog_their_sizes(tmp_path: Path) -> None:
    make_tiny("imagenet", tmp_path)
    for name, (split, images) in LISTS_OF_100.items():
        data = ImageNet(str(tmp_path), data_prefix=split, ann_file=name, pipeline=[])
        assert {item["gt_label"] for item in data} == set(TINY_CLASSES.values())
        assert (
            published_images(dict(data_root="data/imagenet", data_prefix=split, ann_file=name))
            == 100 * images
        )
