"""`data check` counts, compares with what is published, and names every missing or unreadable file."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mixmae_bench.cli import main
from mixmae_bench.datasets import check_folder as check
from mixmae_bench.datasets.catalog import CATALOG, make_tiny
from mixmae_bench.errors import UserError

TINY = {
    "imagenet": ((6, 3), (6, 3)),
    "inat2018": ((3, 3), (3, 3)),
    "inat2019": ((3, 3), (3, 3)),
    "places205": ((3, 3), (3, 3)),
    "places365": ((3, 3), (3, 3)),
    "cifar100": ((4, 4), (4, 4)),
    "coco": ((4, 80), (4, 80)),
    "ade20k": ((4, None), (3, None)),
}
"""Images and classes in the halves of the tiny data sets."""


class Result:
    def __init__(self, name: str, folder: Path, quick: bool = True) -> None:
        out = io.StringIO()
        listing = folder.parent / "problems.txt"
        self.count = check.check_data(name, folder, quick, listing, Console(file=out, width=100))
        self.text = out.getvalue()
        self.problems = listing.read_text().splitlines() if listing.is_file() else []
        assert self.count == len(self.problems)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that makes a tiny data set and calls its size the published one."""

    def make(name: str) -> Path:
        make_tiny(name, tmp_path / "data")
        sizes = zip(CATALOG[name].parts, TINY[name], strict=True)
        parts = tuple(replace(part, images=images, classes=some or 150) for part, (images, some) in sizes)
        monkeypatch.setitem(CATALOG, name, replace(CATALOG[name], parts=parts))
        return tmp_path / "data"

    return make


@pytest.mark.parametrize("name", TINY)
def test_a_whole_data_set_of_every_layout_has_no_problem(name: str, tiny) -> None:
    result = Result(name, tiny(name))
    assert result.count == 0, result.problems
    assert "no problem found" in result.text


@pytest.mark.parametrize("name", TINY)
def test_counts_that_are_not_the_published_ones_are_problems(name: str, tmp_path: Path) -> None:
    make_tiny(name, tmp_path / "data")
    result = Result(name, tmp_path / "data")
    for part, (images, classes) in zip(CATALOG[name].parts, TINY[name], strict=True):
        assert f"{part.name}: {images:,} images, {part.images:,} are published" in result.problems
        told = f"{part.name}: {classes} classes, {part.classes:,} are published" in result.problems
        assert told == (classes not in (None, part.classes))


@pytest.mark.parametrize("name", TINY)
def test_what_is_missing_is_told_with_where_it_was_looked_for(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    result = Result(name, tmp_path / "data")
    assert result.count >= 2
    assert all(str(tmp_path / "data") in line and "No such file" in line for line in result.problems)


def test_files_that_cannot_be_used_are_named_and_only_ten_printed(tiny) -> None:
    folder = tiny("coco")
    image = folder / "train2017/000000000101.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(folder / "train2017/000000000102.jpg")
    for number in range(4):
        (folder / f"val2017/00000000020{number}.jpg").write_bytes(b"")
    result = Result("coco", folder, quick=False)
    assert [problem.partition("2017/")[2] for problem in result.problems] == [
        "000000000101.jpg: the file is truncated or damaged",
        "000000000102.jpg: it is 5x6, its annotation says 56x48",
        *[f"00000000020{number}.jpg: the file is empty" for number in range(4)],
    ]
    assert Result("coco", folder).count == 4, "without decoding only the empty files are found"
    for path in (folder / "train2017").iterdir():
        path.unlink()
    (folder / "val2017").rename(folder / "elsewhere")
    assert Result("coco", folder).count == 5


def test_only_ten_problems_are_printed(tiny) -> None:
    folder = tiny("imagenet")
    for path in folder.rglob("*.JPEG"):
        path.write_bytes(b"")
    result = Result("imagenet", folder)
    assert result.count == 12
    assert sum(".JPEG: the file is empty" in line for line in result.text.splitlines()) == 10
    assert "12 problems, all in" in result.text


def test_classes_of_seg_maps_are_counted_when_decoded(tiny) -> None:
    folder = tiny("ade20k")
    path = folder / "annotations/validation/ADE_val_00000001.png"
    Image.fromarray(np.full((56, 48), 151, np.uint8)).save(path)
    result = Result("ade20k", folder, quick=False)
    assert f"validation: {path}: it has the value 151; classes end at 150" in result.problems
    assert any("classes, 150 are published" in problem for problem in result.problems)


def test_a_malformed_list_is_a_problem_that_names_it(tiny) -> None:
    folder = tiny("coco")
    (folder / "annotations/instances_val2017.json").write_text(json.dumps({"images": [{}]}))
    assert [problem.split(" cannot be read: ")[0] for problem in Result("coco", folder).problems] == [
        f"val: {folder}/annotations/instances_val2017.json"
    ]


def test_the_exit_status_tells_problems_from_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_tiny("cifar100", tmp_path / "data")
    assert main(["data", "check", "cifar100", str(tmp_path / "data")]) == 1
    assert (tmp_path / "cifar100_problems.txt").is_file()
    assert main(["data", "check", "cifar100", str(tmp_path / "nowhere")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
    with pytest.raises(UserError, match="Did you mean 'imagenet'"):
        Result("imagnet", tmp_path)
