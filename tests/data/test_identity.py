"""The hash of a data set: of its annotations, or else of the names of its files."""

from pathlib import Path

import pytest
from mmengine.config import ConfigDict

from mixmae_bench.data.identity import data_hash


@pytest.fixture
def dataset(tmp_path: Path) -> ConfigDict:
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(b"")
    return ConfigDict(type="CustomDataset", data_root=str(tmp_path), data_prefix="train")


def test_the_hash_is_the_same_wherever_the_data_lies_and_whatever_is_around_it(
    dataset: ConfigDict, tmp_path: Path
) -> None:
    before = data_hash(dataset)
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    moved = ConfigDict(type="RepeatDataset", dataset=dict(dataset, data_prefix=dict(img="elsewhere")))
    assert data_hash(moved) == before


@pytest.mark.parametrize("change", ["another", "moved", "gone"])
def test_another_missing_or_moved_file_changes_the_hash(
    dataset: ConfigDict, tmp_path: Path, change: str
) -> None:
    before = data_hash(dataset)
    folder = tmp_path / "train"
    if change == "another":
        (folder / "b" / "3.png").write_bytes(b"")
    elif change == "moved":
        (folder / "a" / "1.png").rename(folder / "b" / "1.png")
    else:
        (folder / "a" / "1.png").unlink()
    assert data_hash(dataset) != before


def test_with_an_annotation_file_its_content_counts_and_the_files_do_not(
    dataset: ConfigDict, tmp_path: Path
) -> None:
    (tmp_path / "train.json").write_text("{}")
    dataset.ann_file = "train.json"
    before = data_hash(dataset)
    (tmp_path / "train" / "a" / "1.png").unlink()
    assert data_hash(dataset) == before
    (tmp_path / "train.json").write_text("[]")
    assert data_hash(dataset) != before
