"""Valid and invalid suites, configs, checkpoints, data sets and records for bad inputs."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from process import ROOT

from mixmae_bench.compat.checkpoints import read_checkpoint

MARK = "it_ran"
"""File that is created if code in a hostile file is executed."""

RUNS = Path()
"""Folder of the undisturbed runs; set before the inputs are checked."""

Content = str | bytes | Callable[[Path], object]


def suite(**changes: str | None) -> str:
    """Return the text of a suite with some keys replaced (None: removed)."""
    values = {
        "name": "test",
        "version": "1",
        "dataset": "digits",
        "methods": "{scratch: }",
        "tasks": "{classification: SMOKE/classification.py}",
        "seeds": "[0]",
    }
    return "".join(f"{k}: {v}\n" for k, v in {**values, **changes}.items() if v is not None)


def config(more: str, task: str = "classification") -> str:
    """Return the text of a config that extends a smoke config by `more`."""
    return f"_base_ = 'SMOKE/{task}.py'\n{more}\n"


class Code:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self) -> tuple:
        return exec, (f"open({MARK!r}, 'w').close()",)


def saved(content: object, **options: object) -> bytes:
    """Return the bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def hostile(**options: object) -> bytes:
    """Return a checkpoint that contains code."""
    weights = {"backbone.norm.weight": torch.zeros(3)}
    return saved({"state_dict": weights, "meta": Code()}, **options)


def checkpoint(change: Callable[[bytearray], object], task: str = "pretraining") -> Callable[[Path], object]:
    """Return a function that writes a damaged copy of a checkpoint of an undisturbed run."""

    def write(path: Path) -> None:
        content = bytearray((RUNS / task / "epoch_2.pth").read_bytes())
        change(content)
        path.write_bytes(content)

    return write


def cut(content: bytearray) -> None:
    """Truncate a file in the middle."""
    del content[len(content) // 2 :]


def flip(content: bytearray) -> None:
    """Flip a bit in the middle of a file."""
    content[len(content) // 2] ^= 1


def weights_alone(path: Path) -> None:
    """Write the state dict of a checkpoint only."""
    content = read_checkpoint(RUNS / "classification" / "epoch_2.pth")
    torch.save({"state_dict": content["state_dict"]}, path)


def code_as_config(path: Path) -> None:
    """Write a checkpoint with code as its config, which mmengine executes when it resumes."""
    content = read_checkpoint(RUNS / "classification" / "epoch_2.pth")
    content["meta"]["config"] = f"open({MARK!r}, 'w').close()"
    torch.save(content, path)


def images(path: Path) -> None:
    """Write a data set with two images per digit and split."""
    for split in ("train", "val"):
        for digit in range(10):
            folder = path / split / str(digit)
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((32, 32, 3), 20 * digit, np.uint8)).save(folder / f"{number}.png")


def scenes(path: Path) -> None:
    """Write four black images for detection."""
    path.mkdir()
    for number in range(4):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path / f"{number}.png")


def folders(**renamed: str) -> Callable[[Path], object]:
    """Return a function that writes `images` and renames class folders of `val`, such as '_0' (folder 0)."""

    def write(path: Path) -> None:
        images(path)
        for old, new in renamed.items():
            (path / "val" / old.strip("_")).rename(path / "val" / new)

    return write


def photos(path: Path) -> None:
    """Write `scenes` with an EXIF orientation of 6, as phones store rotated photos."""
    path.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(4):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path / f"{number}.png", exif=exif)


def maps(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    """Return a function that writes four images, and maps of two classes modified by `change`."""

    def write(path: Path) -> None:
        for folder in ("img", "map"):
            (path / folder).mkdir(parents=True)
        labels = np.zeros((64, 64), np.uint8)
        labels[20:40, 20:40] = 1
        for number in range(4):
            Image.fromarray(np.repeat(labels[..., None] * 200, 3, 2)).save(path / f"img/{number}.png")
            Image.fromarray(change(labels)).save(path / f"map/{number}.png")

    return write


def coco(**changes: object) -> str:
    """Return COCO annotations of `scenes` with some keys replaced."""
    box = [8, 8, 16, 16]
    note = dict(category_id=1, bbox=box, area=256, iscrowd=0, segmentation=[[8, 8, 24, 8, 24, 24, 8, 24]])
    content = dict(
        images=[dict(id=i, file_name=f"{i}.png", width=64, height=64) for i in range(4)],
        annotations=[dict(note, id=i + 1, image_id=i) for i in range(4)],
        categories=[dict(id=i + 1, name=str(i)) for i in range(10)],
    )
    return json.dumps({k: v for k, v in {**content, **changes}.items() if v is not None})


def record(**changes: object) -> str:
    """Return a line of records.jsonl of the smoke suite with some fields replaced."""
    line = (ROOT / "results/measured/digits/records.jsonl").read_text().splitlines()[0]
    return json.dumps({**json.loads(line), "suite": "smoke", **changes}) + "\n"
