"""Trainings on data with files that cannot be read: these are skipped and listed, or it stops in one line."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = {base!r}
data_root = {root!r}
load = [dict(type="mixmae_bench.LoadImage"), dict(type="PackInputs")]
train_dataloader = dict(
    num_workers=2, dataset=dict(data_root=data_root, pipeline=load, indices=None), batch_size=8
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=load, indices=None))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1, val_interval=1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two images for each of the ten digits, in each half."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for digit in range(10):
            (tmp_path / "data" / split / str(digit)).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / str(digit) / f"{number}.png")
    return tmp_path


@pytest.fixture
def train(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    config = folder / "config.py"
    base = str(ROOT / "tests/smoke/classification.py")
    config.write_text(CONFIG.format(base=base, root=str(folder / "data")))

    def run() -> int:
        monkeypatch.setattr("sys.argv", ["train.py", str(config), "--work-dir", str(folder / "work")])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "tools/train.py"), run_name="__main__")
        return stopped.value.code

    return run


def test_training_goes_on_without_the_unreadable_and_lists_them(
    folder: Path, train: Callable, capfd: pytest.CaptureFixture
) -> None:
    (folder / "data/train/3/1.png").write_bytes(b"")
    assert train() == 0
    path = folder / "data/train/3/1.png"
    assert (folder / "work/corrupt-images.txt").read_text() == f"{path}: the file is empty\n"
    assert f"skipped {path}" in capfd.readouterr().out


@pytest.mark.parametrize("split", ["train", "val"])
def test_too_many_in_training_or_one_in_validation_is_one_line(
    split: str, folder: Path, train: Callable, capfd: pytest.CaptureFixture
) -> None:
    for path in (folder / "data" / split).rglob("*.png"):
        path.write_bytes(b"")
    assert train() == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    told = "more than 10 files cannot be used" if split == "train" else "0/0.png cannot be used: the file is"
    assert told in errors[0]
