"""The hash of a data set: the same for the same data anywhere, another for other data."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixmae_bench.datasets import identity
from mixmae_bench.datasets.identity import data_hash, file_hash
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


def test_painted_digits_are_known_by_the_settings_of_their_task(tmp_path: Path) -> None:
    def of(
        place: str, prefix: str = "train", version: int = 1, inside: str = "classification", **config: int
    ) -> str:
        root = tmp_path / place / "digits-v1-0a1b2c3d"
        for task in ("pretrain", "classification"):
            (root / task).mkdir(parents=True, exist_ok=True)
        record = dict(version=version, config={"seed": 0, "train_sources": 20, "pretrain": 30, **config})
        (root / "splits.json").write_text(json.dumps(record))
        return data_hash(dict(data_root=str(root / inside), data_prefix=prefix))

    own = of("here")
    assert own == of("there") == of("here", pretrain=40)
    others = [of("here", "val"), of("here", version=2), of("here", seed=1), of("here", train_sources=21)]
    assert len({own, *others, of("here", classification_train=10)}) == 6
    above = dict(inside="", prefix="pretrain")
    assert of("here", **above) == of("here", **above, classification_train=10)
    assert of("here", **above) != of("here", **(above | {"pretrain": 40}))
    assert of("here", inside="") != of("here", inside="", pretrain=40)  # of no known task


@pytest.mark.parametrize("missing", [dict(ann_file="train.json"), dict(data_prefix="train"), {}])
def test_missing_data_is_a_mistake_that_names_the_path(tmp_path: Path, missing: dict) -> None:
    with pytest.raises(UserError, match=str(tmp_path / next(iter(missing.values()), ""))):
        data_hash(dict(data_root=str(tmp_path), **missing))


@pytest.fixture
def walks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Use a cache of the test's own; return the folders that are walked from now on."""
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "SECONDS_TO_SETTLE", 0)
    walked: list[str] = []
    walk = os.walk

    def noting(folder: str, **options: bool) -> Iterator:
        walked.append(folder)
        return walk(folder, **options)

    monkeypatch.setattr(identity.os, "walk", noting)
    return walked


def test_a_folder_that_did_not_change_is_walked_once_for_all_commands(
    tmp_path: Path, walks: list[str]
) -> None:
    root = folder(tmp_path / "set")
    first = data_hash(dict(data_root=str(root)))
    assert len(walks) == 1
    assert data_hash(dict(data_root=str(root))) == first
    assert len(walks) == 1


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "new folder", "moved"])
def test_a_change_anywhere_below_a_folder_is_noticed(tmp_path: Path, walks: list[str], change: str) -> None:
    root = folder(tmp_path / "set", ("a/1.jpg", "a/deep/2.jpg", "b/3.jpg"))
    before = data_hash(dict(data_root=str(root)))
    time.sleep(0.02)  # times of a folder come in steps of some milliseconds
    file = root / "a/deep/2.jpg"
    {
        "added": lambda: (root / "a/deep/4.jpg").touch(),
        "removed": file.unlink,
        "renamed": lambda: file.rename(root / "a/deep/5.jpg"),
        "new folder": lambda: folder(root, ("c/6.jpg",)),
        "moved": lambda: file.rename(root / "b/2.jpg"),
    }[change]()
    assert data_hash(dict(data_root=str(root))) != before


def test_a_folder_that_several_data_sets_share_is_walked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walks: list[str]
) -> None:
    monkeypatch.setattr(identity, "SECONDS_TO_SETTLE", 10**6)  # nothing is remembered between commands
    root, listings = folder(tmp_path / "set"), {}
    sets = [
        dict(data_root=str(root), data_prefix="train"),
        dict(data_root=str(root), split="train"),
        dict(type="ConcatDataset", datasets=[dict(data_root=str(root / "train"))]),
    ]
    for one in sets:
        data_hash(one, listings)
    assert walks == [str(root / "train")]


def test_what_changed_a_moment_ago_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walks: list[str]
) -> None:
    monkeypatch.setattr(identity, "SECONDS_TO_SETTLE", 2)
    root = folder(tmp_path / "set")
    data_hash(dict(data_root=str(root)))
    data_hash(dict(data_root=str(root)))
    assert len(walks) == 2


def test_annotations_and_weights_are_read_again_where_they_changed(tmp_path: Path, walks: list[str]) -> None:
    file = tmp_path / "train.json"
    for read in (file_hash, lambda path: data_hash(dict(ann_file=str(path)))):
        file.write_text("one")
        first = read(file)
        assert read(file) == first
        time.sleep(0.02)
        stamp = file.stat()
        file.write_text("two")
        os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as some copying tools leave it
        assert read(file) != first


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}'])
def test_a_damaged_cache_only_costs_time(tmp_path: Path, walks: list[str], content: str) -> None:
    root = folder(tmp_path / "set")
    before = data_hash(dict(data_root=str(root)))
    (tmp_path / "cache" / identity.CACHE).write_text(content)
    assert data_hash(dict(data_root=str(root))) == before


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walks: list[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(tmp_path / "file" / "below"))
    assert len(data_hash(dict(data_root=str(folder(tmp_path / "set"))))) == 16


def test_every_part_of_a_joined_data_set_counts(tmp_path: Path) -> None:
    one, other = (dict(data_root=str(folder(tmp_path / name, (name,)))) for name in ("a", "b"))
    joined = [data_hash(dict(type="ConcatDataset", datasets=parts)) for parts in ([one, other], [one, one])]
    assert len({*joined, data_hash(one), data_hash(other)}) == 4
