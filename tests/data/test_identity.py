"""The hash of a data set: the same for the same data anywhere, another for other data."""

import json
import shutil
from pathlib import Path

import pytest

from mixmae_bench.data.identity import data_hash
from mixmae_bench.errors import UserError


def folder(root: Path, names: tuple[str, ...] = ("train/a/1.jpg", "train/b/2.jpg")) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_same_names_elsewhere_give_the_same_hash(tmp_path: Path) -> None:
    one = folder(tmp_path / "one")
    other = Path(shutil.copytree(one, tmp_path / "other"))
    hashes = {
        data_hash(dict(data_root=str(one), data_prefix="train")),
        data_hash(dict(data_root=str(other), data_prefix=dict(img_path="train/"))),
        data_hash(dict(type="RepeatDataset", dataset=dict(data_root=str(other / "train")))),
    }
    assert len(hashes) == 1
    assert len(hashes.pop()) == 16


def test_a_file_more_or_in_another_folder_changes_the_hash(tmp_path: Path) -> None:
    sets = [("a/1", "b/2"), ("a/1", "b/2", "b/3"), ("a/1", "a/2"), ("a/1b/2",)]
    hashes = [
        data_hash(dict(data_root=str(folder(tmp_path / str(i), names)))) for i, names in enumerate(sets)
    ]
    assert len(set(hashes)) == len(sets)


def test_annotations_count_by_content(tmp_path: Path) -> None:
    config = dict(data_root=str(tmp_path), ann_file="train.json", data_prefix=dict(img="nowhere"))
    (tmp_path / "train.json").write_text(json.dumps([1]))
    first = data_hash(config)
    (tmp_path / "train.json").write_text(json.dumps([2]))
    assert data_hash(config) != first


def test_split_is_read_as_imagenet_does(tmp_path: Path) -> None:
    root = folder(tmp_path, ("train/a/1.jpg", "val/a/2.jpg"))
    train, val = (data_hash(dict(data_root=str(root), split=split)) for split in ("train", "val"))
    assert train != val
    folder(tmp_path, ("meta/val.txt",))
    assert data_hash(dict(data_root=str(root), split="val")) != val


def test_painted_digits_are_known_by_their_folder_name(tmp_path: Path) -> None:
    def of(place: str, version: int, prefix: str) -> str:
        return data_hash(dict(data_root=f"{place}/digits-v{version}-0a1b2c3d/x", data_prefix=prefix))

    assert of("here", 1, "train") == of("there", 1, "train")
    assert len({of("here", 1, "train"), of("here", 2, "train"), of("here", 1, "val")}) == 3


@pytest.mark.parametrize("missing", [dict(ann_file="train.json"), dict(data_prefix="train"), {}])
def test_missing_data_is_a_mistake_that_names_the_path(tmp_path: Path, missing: dict) -> None:
    with pytest.raises(UserError, match=str(tmp_path / next(iter(missing.values()), ""))):
        data_hash(dict(data_root=str(tmp_path), **missing))
