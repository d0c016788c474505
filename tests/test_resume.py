"""A killed run that goes on ends with the weights of an undisturbed one; its checkpoints are whole."""

import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.config import find_data, load_config
from mixmae_bench.resume import protect
from mixmae_bench.train import resume_latest

SMOKE = Path(__file__).parent / "smoke"


class Stop(Exception):
    """What ends a run in this process at some iteration."""


class StopHook(Hook):
    """Ends the run in the second epoch, after its first step."""

    def __init__(self, kill: bool) -> None:
        self.kill = kill

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if runner.iter == 2:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Stop


def train(task: str, folder: Path, stop: StopHook | None = None, **options: object) -> Runner:
    """Train two epochs of two iterations, or what is left of them, as `tools/train.py --resume` does."""
    torch.set_num_threads(1)  # in a new process too
    cfg = find_data(load_config(SMOKE / f"{task}.py", options))
    cfg.work_dir = str(folder)
    cfg.experiment_name = f"{folder}_{random.SystemRandom().random()}"
    resume_latest(cfg)
    protect(cfg)
    runner = Runner.from_cfg(cfg)
    if stop:
        runner.register_hook(stop)
    runner.train()
    return runner


def weights(folder: Path, name: str = "epoch_2.pth") -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / name)["state_dict"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train("pretraining", folder)
    return folder


def test_a_killed_pretraining_ends_with_the_weights_of_an_undisturbed_one(
    undisturbed: Path, tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=train, args=("pretraining", tmp_path, StopHook(kill=True))
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "epoch_2.pth").exists()
    train("pretraining", tmp_path)
    assert_same(weights(tmp_path), weights(undisturbed))
    ends = [read_checkpoint(folder / "epoch_2.pth")["random_states"] for folder in (tmp_path, undisturbed)]
    assert torch.equal(ends[0][0]["torch"], ends[1][0]["torch"])


@pytest.mark.parametrize("task", ["classification"])
def test_a_transfer_that_validates_between_goes_on_exactly(task: str, tmp_path: Path) -> None:
    options = {"train_cfg.val_interval": 1}
    train(task, tmp_path / "undisturbed", **options)
    with pytest.raises(Stop):
        train(task, tmp_path / "stopped", StopHook(kill=False), **options)
    train(task, tmp_path / "stopped", **options)
    assert_same(weights(tmp_path / "stopped"), weights(tmp_path / "undisturbed"))
