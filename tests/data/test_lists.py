"""Lists as people have them are read right, or end in one line that names the list."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_data import save
from mmengine.config import Config
from test_sets import build, make_flat_imagenet

from mixmae_bench.datasets.catalog import make_tiny
from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.datasets.lists import split_label
from mixmae_bench.errors import UserError
from mixmae_bench.registry import DATASETS

PATHS = ["a/one.jpg", "b/two, three.jpg", "c/four five.jpg", "d/six;7.jpg"]

WRITTEN = {
    "plain": "{path} {label}",
    "tab": "{path}\t{label}",
    "comma": "{path},{label}",
    "comma and blank": "{path}, {label}",
    "semicolon": "{path};{label}",
    "blanks behind": "{path}  {label}  ",
    "leading slash": "/{path} {label}",
    "leading dot": "./{path} {label}",
    "quoted": '"{path}",{label}',
    "float": "{path} {label}.0",
}

ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "byte order mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    return tmp_path


def listed(root: Path, line: str, encoding: str) -> list[tuple[str, int]]:
    text = "".join(line.format(path=path, label=label) + "\n" for label, path in enumerate(PATHS))
    (root / "list.csv").write_bytes(ENCODINGS[encoding](text))
    found = build("Places205", root, data_prefix="", ann_file="list.csv")
    return [(str(Path(path)), label) for path, label in found]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_places_lists_of_every_encoding_are_read(encoding: str, images: Path) -> None:
    assert listed(images, "{path} {label}", encoding) == [(path, i) for i, path in enumerate(PATHS)]


@pytest.mark.parametrize("name", WRITTEN)
def test_lines_of_every_kind_are_read(name: str, images: Path) -> None:
    assert listed(images, WRITTEN[name], "utf-8") == [(path, i) for i, path in enumerate(PATHS)]


def test_windows_paths_are_read() -> None:
    assert split_label("a\\b c.jpg 3\n".strip()) == ("a/b c.jpg", 3)


@pytest.mark.parametrize("line", ["a.jpg 1.5", "a.jpg -1", "a.jpg x", "a.jpg", "3"])
def test_a_line_without_a_class_has_no_label(line: str) -> None:
    assert split_label(line)[1] is None


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line", ["{path} {label}", "{path}\t{label}", "{path},{label}"])
def test_imagenets_lists_are_read(line: str, encoding: str, tmp_path: Path) -> None:
    make_flat_imagenet(tmp_path)
    lines = [text.split() for text in (tmp_path / "meta/val.txt").read_text().splitlines()]
    text = "".join(line.format(path=path, label=label) + "\n" for path, label in lines)
    (tmp_path / "meta/val.txt").write_bytes(ENCODINGS[encoding](text))
    assert [label for _, label in build("ImageNet", tmp_path, split="val")] == [0, 0, 207, 207, 999, 999]
    unlabelled = build_unlabelled(tmp_path, ENCODINGS[encoding]("".join(f"{path}\n" for path, _ in lines)))
    assert len(unlabelled) == 6
    assert all(Path(path).is_file() for path in unlabelled)


def build_unlabelled(root: Path, content: bytes) -> list[str]:
    (root / "list.txt").write_bytes(content)
    dataset = dict(type="mixmae_bench.ImageNet", data_root=str(root), data_prefix="val", ann_file="list.txt")
    built = DATASETS.build(dict(dataset, with_label=False))
    return [built.get_data_info(number)["img_path"] for number in range(len(built))]


def test_files_that_systems_put_beside_images_are_no_images(tmp_path: Path) -> None:
    make_tiny("imagenet", tmp_path)
    for name in ("._n01440764_1.JPEG", ".DS_Store", "Thumbs.db", ".hidden.JPEG"):
        (tmp_path / "train/n01440764" / name).touch()
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    assert len(build("ImageNet", tmp_path, split="train")) == 6


def test_inaturalists_json_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    make_tiny("inat2018", tmp_path)
    file = tmp_path / "val2018.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(json.loads(file.read_text())).encode())
    assert [label for _, label in build("INaturalist", tmp_path, ann_file="val2018.json")] == [0, 1, 8141]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbf0.png 0\n1.png 1\n", r"names '.*ufeff0.png', which does not exist; write the list in"),
        ("0.png 0\n1.png 1\n".encode("utf-16"), "cannot be read: UnicodeDecodeError"),
        (b"0.png\t0\n1.png\t1\n", "cannot be read: ValueError"),
        (b"0.png 0.0\n1.png 1.0\n", "cannot be read: ValueError"),
        (b".\\0.png 0\n1.png 1\n", r"0.png', which does not exist; write the list in UTF-8"),
        (b"0.png  0\n1.png  1\n", r"0.png ', which does not exist; write the list in UTF-8"),
        (b"0.png 0\nnone.png 1\n", "none.png"),
    ],
    ids=["mark", "utf-16", "tab", "float", "windows", "blanks", "missing"],
)
@pytest.mark.parametrize("load", ["LoadImageFromFile", "mixmae_bench.LoadImage"])
def test_lists_that_mmpretrain_reads_wrongly_are_refused(
    load: str, content: bytes, said: str, tmp_path: Path
) -> None:
    for number in range(2):
        save(tmp_path / f"{number}.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "list.txt").write_bytes(content)
    dataset = dict(type="CustomDataset", data_root=str(tmp_path), ann_file="list.txt", data_prefix="")
    dataset |= dict(metainfo=dict(classes=("a", "b")), pipeline=[dict(type=load), dict(type="PackInputs")])
    for loader in ("train_dataloader", "val_dataloader"):
        cfg = Config(
            {"default_scope": "mmpretrain", loader: dict(dataset=dataset)}, cfg_text=" ", filename="my.py"
        )
        if said == "none.png" and loader == "train_dataloader" and load != "LoadImageFromFile":
            assert check_datasets(cfg)  # skipped and listed, as `max_corrupt_images` says
            continue
        with pytest.raises(UserError, match=said) as caught:
            check_datasets(cfg)
        assert "list.txt" in str(caught.value)
        assert "\n" not in str(caught.value)
