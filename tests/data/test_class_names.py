"""A label means the same class in training and validation, or no training begins."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_data import save
from mmengine.config import Config

from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Class folders, in training and validation."""
    for split in ("train", "val"):
        for name in ("ant", "bee", "cat"):
            save(tmp_path / split / name / "0.png", np.zeros((8, 8, 3), np.uint8))
    return tmp_path


def config(root: Path, train: tuple[str, ...] | None = None, val: tuple[str, ...] | None = None) -> Config:
    def loader(split: str, classes: tuple[str, ...] | None) -> dict:
        pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
        dataset = dict(type="CustomDataset", data_root=str(root), data_prefix=split, pipeline=pipeline)
        return dict(dataset=dataset | (dict(metainfo=dict(classes=classes)) if classes else {}))

    return Config(
        dict(
            default_scope="mmpretrain",
            model=dict(head=dict(num_classes=3)),
            train_dataloader=loader("train", train),
            val_dataloader=loader("val", val),
        ),
        cfg_text=" ",
        filename="my.py",
    )


def test_equal_folders_are_right_whatever_the_classes_are_called(root: Path) -> None:
    names = ("Ant", "Bee", "Cat")
    for cfg in (config(root), config(root, names, names)):
        assert check_datasets(cfg) == dict(train_dataloader=3, val_dataloader=3)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda val: (val / "ant").rename(val / "zoo"), "label 0 is 'ant' in the one and 'bee'"),
        (lambda val: (val / "bee").rename(val / "Bee"), "label 0 is 'ant' in the one and 'Bee'"),
        (lambda val: shutil.rmtree(val / "cat"), "the one has 3 and the other 2"),
        (lambda val: shutil.rmtree(val / "ant"), "label 0 is 'ant' in the one and 'bee'"),
        (lambda val: (val / ".ipynb_checkpoints").mkdir(), "label 0 is 'ant' in the one and '.ipynb_"),
    ],
    ids=["renamed", "upper case", "last missing", "first missing", "hidden"],
)
def test_renamed_and_missing_class_folders_are_refused_and_both_sets_named(
    change: Callable[[Path], object], said: str, named: bool, root: Path
) -> None:
    change(root / "val")
    names = ("Ant", "Bee", "Cat") if named else None
    if named and len(list((root / "val").iterdir())) != 3:
        said = "cannot be read: AssertionError: The number of subfolders"  # mmpretrain's own word
    with pytest.raises(UserError, match=said) as caught:
        check_datasets(config(root, names, names))
    assert "\n" not in str(caught.value)
    assert f"{root}/val" in str(caught.value)


def test_names_given_in_another_order_are_refused(root: Path) -> None:
    names = ("Ant", "Bee", "Cat")
    with pytest.raises(UserError, match=r"train_dataloader\S+ than in val_dataloader\S+: label 0 is 'Ant'"):
        check_datasets(config(root, names, names[::-1]))
