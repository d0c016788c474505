"""Each data set reads the layout that is published, and names the file where it is malformed."""

import json
import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mixmae_bench.datasets.catalog import make_tiny
from mixmae_bench.datasets.catalog.imagenet import TINY_CLASSES
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

PLACES205_IMAGES = "data/vision/torralba/deeplearning/images256"


def build(type_: str, root: Path, **arguments: object) -> list[tuple[str, int]]:
    """Return the (path in the root, label) of every image; all files exist."""
    dataset = DATASETS.build(dict(type=f"mixmae_bench.{type_}", data_root=str(root), **arguments))
    items = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert all(Path(item["img_path"]).is_file() for item in items)
    return [(os.path.relpath(item["img_path"], root), item["gt_label"]) for item in items]


def labels(type_: str, root: Path, **arguments: object) -> list[int]:
    return [label for _, label in build(type_, root, **arguments)]


def make_flat_imagenet(root: Path) -> None:
    """Write ImageNet with `val` flat and labels in `meta/val.txt`, as its archives are unpacked."""
    make_tiny("imagenet", root)
    lines = []
    for path in sorted((root / "val").rglob("*.JPEG")):
        lines.append(f"{path.name} {TINY_CLASSES[path.parent.name]}\n")
        path.rename(root / "val" / path.name)
    for wordnet in TINY_CLASSES:
        (root / "val" / wordnet).rmdir()
    (root / "meta" / "val.txt").write_text("".join(lines))


@pytest.mark.parametrize("flat", [False, True])
def test_imagenet_reads_class_folders_and_a_flat_val(flat: bool, tmp_path: Path) -> None:
    (make_flat_imagenet if flat else partial(make_tiny, "imagenet"))(tmp_path)
    assert labels("ImageNet", tmp_path, split="train") == [0, 0, 207, 207, 999, 999]
    val = build("ImageNet", tmp_path, split="val")
    assert [label for _, label in val] == [0, 0, 207, 207, 999, 999]
    assert val[0][0].endswith("ILSVRC2012_val_00000001.JPEG")


def test_imagenet_without_labels_takes_any_image(tmp_path: Path) -> None:
    make_flat_imagenet(tmp_path)
    dataset = DATASETS.build(
        dict(type="mixmae_bench.ImageNet", data_root=str(tmp_path), split="val", with_label=False)
    )
    assert len(dataset) == 6


def test_imagenet_lists_of_a_share_of_the_labels(tmp_path: Path) -> None:
    make_tiny("imagenet", tmp_path)
    one, ten = (
        build("ImageNet", tmp_path, data_prefix="train", ann_file=f"meta/{percent}percent.txt")
        for percent in (1, 10)
    )
    assert one == [(f"train/{name}/{name}_1.JPEG", label) for name, label in TINY_CLASSES.items()]
    assert len(ten) == 6
    assert set(one) < set(ten)
    (tmp_path / "meta/paths.txt").write_text("n02099601/n02099601_1.JPEG 207\n")
    assert build("ImageNet", tmp_path, data_prefix="train", ann_file="meta/paths.txt") == one[1:2]


def test_imagenet_names_a_folder_or_line_of_no_class(tmp_path: Path) -> None:
    make_tiny("imagenet", tmp_path)
    for line in ("n01440764/n01440764_1.JPEG 1", "image.JPEG", "image.JPEG 1000", "n99_1.JPEG"):
        (tmp_path / "meta/wrong.txt").write_text(line)
        with pytest.raises(UserError, match=rf"wrong.txt has the line '{line}'"):
            build("ImageNet", tmp_path, data_prefix="train", ann_file="meta/wrong.txt")
    (tmp_path / "train/n00000000").mkdir()
    with pytest.raises(UserError, match="train/n00000000 is no class"):
        build("ImageNet", tmp_path, split="train")
    with pytest.raises(UserError, match="nowhere/train cannot be read"):
        build("ImageNet", tmp_path / "nowhere", split="train")


@pytest.mark.parametrize(("year", "last"), [(2018, 8141), (2019, 1009)])
def test_inaturalist_reads_the_competitions_json(year: int, last: int, tmp_path: Path) -> None:
    make_tiny(f"inat{year}", tmp_path)
    for split in ("train", "val"):
        items = build("INaturalist", tmp_path, ann_file=f"{split}{year}.json")
        assert [label for _, label in items] == [0, 1, last]
        assert items[0][0] == f"train_val{year}/Plantae/0/{split}0.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["annotations"].pop(), r"gives image \S+/val2.jpg no annotation"),
        (lambda content: content["annotations"][1].update(category_id=1010), "category 1010, which is not"),
        (lambda content: content.pop("categories"), "is not JSON with images"),
    ],
)
def test_inaturalist_names_what_is_wrong_in_the_json(change, message: str, tmp_path: Path) -> None:
    make_tiny("inat2019", tmp_path)
    file = tmp_path / "val2019.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"val2019.json .*{message}"):
        build("INaturalist", tmp_path, ann_file="val2019.json")


def test_places205_reads_its_csv(tmp_path: Path) -> None:
    make_tiny("places205", tmp_path)
    for split in ("train", "val"):
        csv = f"trainvalsplit_places205/{split}_places205.csv"
        items = build("Places205", tmp_path, ann_file=csv, data_prefix=PLACES205_IMAGES)
        assert [label for _, label in items] == [0, 1, 204]
        (tmp_path / csv).write_text((tmp_path / csv).read_text().replace(" ", ","))
        assert build("Places205", tmp_path, ann_file=csv, data_prefix=PLACES205_IMAGES) == items


def test_places365_reads_its_lists(tmp_path: Path) -> None:
    make_tiny("places365", tmp_path)
    train = build("Places365", tmp_path, ann_file="places365_train_standard.txt", data_prefix="data_256")
    assert train[2] == ("data_256/z/zen_garden/00000001.jpg", 364)
    assert labels("Places365", tmp_path, ann_file="places365_val.txt", data_prefix="val_256") == [0, 1, 364]


@pytest.mark.parametrize("line", ["a/b.jpg 365", "a/b.jpg", "a/b.jpg -1", "a/b.jpg x"])
def test_a_line_without_label_of_a_class_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"a/a.jpg 0\n{line}\n")
    with pytest.raises(UserError, match=rf"list.txt has the line '{line}'.* 0 to 364"):
        build("Places365", tmp_path, ann_file="list.txt", data_prefix="val_256")


@pytest.mark.parametrize(("content", "message"), [(b"\n", "is empty"), (b"\xff\xfe\x00", "is not text")])
def test_an_empty_or_binary_list_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=rf"list.txt {message}"):
        build("Places365", tmp_path, ann_file="list.txt", data_prefix="val_256")


def test_cifar100_gives_images_of_three_channels_last(tmp_path: Path) -> None:
    make_tiny("cifar100", tmp_path)
    dataset = DATASETS.build(dict(type="mixmae_bench.CIFAR100", data_root=str(tmp_path), split="test"))
    item = dataset.get_data_info(3)
    stored = pickle.loads((tmp_path / "cifar-100-python/test").read_bytes())["data"][3]
    assert item["gt_label"] == 99
    assert (item["img"][5, 7] == stored[[5 * 32 + 7 + 1024 * channel for channel in range(3)]]).all()
    assert item["img"].shape == (32, 32, 3)
    assert len(dataset.CLASSES) == 100


def test_cifar100_is_neither_downloaded_nor_run_as_code(tmp_path: Path) -> None:
    config = dict(type="mixmae_bench.CIFAR100", data_root=str(tmp_path), split="train")
    with pytest.raises(UserError, match=r"cifar-100-python/train cannot be read .*unpack"):
        DATASETS.build(config)
    make_tiny("cifar100", tmp_path)
    file = tmp_path / "cifar-100-python/train"
    file.write_bytes(pickle.dumps(dict(data=os.getcwd, fine_labels=np.zeros(1))))
    with pytest.raises(UserError, match=r"train is not the file of .*names (posix|nt).getcwd"):
        DATASETS.build(config)
