"""docs/add-a-dataset.md as a reader follows it: its files and commands, unchanged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, arguments, commands, read_page, write_files

from mixmae_bench.cli import main
from mixmae_bench.datasets.catalog import CATALOG, make_tiny
from mixmae_bench.engine.config import load_config
from mixmae_bench.suite.estimate import _images

PAGE = read_page("add-a-dataset.md")
CONFIG = "mixmae_swin-b-w14_8xb128-50e_tiny-imagenet.py"
VALIDATE, CHECK = arguments(*commands(PAGE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The reader's folder beside a clone; its commands are called in this process, which is in the folder."""
    parent = tmp_path_factory.mktemp("reader")
    (parent / "mixmae-bench").symlink_to(ROOT)
    folder = write_files(PAGE, parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield folder
    CATALOG.pop("tiny-imagenet", None)


def test_data_check_knows_the_data_set_by_its_module(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(CHECK) == 2
    assert "error: folder data/tiny-imagenet-200 does not exist" in capsys.readouterr().err
    make_tiny("tiny-imagenet", folder / "data" / "tiny-imagenet-200")
    assert main(CHECK) == 1
    assert (folder / "tiny-imagenet_problems.txt").read_text().splitlines() == [
        "train: 4 classes, 200 are published",
        "train: 4 images, 100,000 are published",
        "val: 4 classes, 200 are published",
        "val: 4 images, 10,000 are published",
    ]


def test_the_config_trains_and_evaluates_on_the_tiny_copy(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    status = main(VALIDATE)
    assert "1 of 1 configs build, train and evaluate" in capsys.readouterr().out
    assert status == 0


@pytest.mark.usefixtures("folder")
def test_a_dry_run_counts_its_images() -> None:
    assert _images(load_config(CONFIG)) == (50 * 100_000, 5 * 10_000)


@pytest.mark.usefixtures("folder")
def test_a_module_that_cannot_be_imported_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert main([*CHECK[:-1], "tiny_imagnet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --import tiny_imagnet: ModuleNotFoundError: ")
    assert error.endswith("is its folder in PYTHONPATH?\n")
