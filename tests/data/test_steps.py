"""Loaders that would give no batch, or leave images out of an evaluation, are refused before training."""

from pathlib import Path

import numpy as np
import pytest
from made_data import save
from mmengine.config import Config

from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.errors import UserError


def config(root: Path, images: int, loader: str = "train_dataloader", **settings: object) -> Config:
    for number in range(images):
        save(root / "train" / str(number % 2) / f"{number}.png", np.zeros((8, 8, 3), np.uint8))
    dataset = dict(type="CustomDataset", data_root=str(root), data_prefix="train", pipeline=[])
    if times := settings.pop("times", None):
        dataset = dict(type="RepeatDataset", times=times, dataset=dataset)
    content = {"default_scope": "mmpretrain", loader: dict(dataset=dataset, **settings)}
    return Config(content, cfg_text=" ", filename="my.py")


@pytest.mark.parametrize(
    ("settings", "processes"),
    [
        (dict(batch_size=7, drop_last=True), 1),
        (dict(batch_size=4, drop_last=True), 2),
        (dict(batch_size=3, drop_last=True, sampler=dict(type="DefaultSampler", round_up=False)), 4),
        (dict(batch_size=13, drop_last=True, times=2), 1),
        (dict(batch_size=7, batch_sampler=dict(type="AspectRatioBatchSampler", drop_last=True)), 1),
    ],
    ids=["one", "two processes", "without rounding up", "repeated", "batch sampler"],
)
def test_a_batch_larger_than_the_set_is_refused_with_drop_last(
    settings: dict, processes: int, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"my.py: train_dataloader gives no batch: (6|12) images for"):
        check_datasets(config(tmp_path, 6, **settings), processes)


@pytest.mark.parametrize(
    ("settings", "processes"),
    [
        (dict(batch_size=7), 1),
        (dict(batch_size=3, drop_last=True), 2),
        (dict(batch_size=12, drop_last=True, times=2), 1),
        (dict(batch_size=7, drop_last=True, sampler=dict(type="InfiniteSampler")), 1),
        (dict(batch_size=4, drop_last=True), 1),
    ],
    ids=["kept", "two processes", "repeated", "infinite", "a rest"],
)
def test_what_gives_a_batch_is_right(settings: dict, processes: int, tmp_path: Path) -> None:
    assert check_datasets(config(tmp_path, 6, **settings), processes)["train_dataloader"] == 6


def test_an_evaluation_leaves_no_image_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"my.py: val_dataloader leaves 2 of 6 images out of the evaluation"):
        check_datasets(config(tmp_path, 6, "val_dataloader", batch_size=4, drop_last=True))
    assert check_datasets(config(tmp_path, 6, "val_dataloader", batch_size=3, drop_last=True))


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader", "test_dataloader"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (dict(num_workers=0, persistent_workers=True), "persistent_workers needs workers"),
        (dict(persistent_workers=True), "persistent_workers needs workers"),
        (dict(num_workers=0, prefetch_factor=2), "prefetch_factor needs workers"),
        (dict(num_workers=-1), "num_workers is -1"),
        (dict(num_workers="two"), "num_workers is 'two'"),
        (dict(batch_size=0), "batch_size is 0"),
        (dict(num_batch_per_epoch=0), "num_batch_per_epoch is below 1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    loader: str, settings: dict, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"config my.py: {loader}.{said}"):
        check_datasets(config(tmp_path, 2, loader, **settings))
