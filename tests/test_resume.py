"""A killed run that goes on ends with the weights of an undisturbed one; its checkpoints are whole."""

import errno
import multiprocessing
import os
import random
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.engine.config import find_data, load_config
from mixmae_bench.engine.finite import check_loss
from mixmae_bench.engine.prepare import resume_latest
from mixmae_bench.engine.resume import (
    add_checkpoint_hooks,
    intact,
    latest_intact,
    random_states,
    set_random_states,
)
from mixmae_bench.errors import UserError
from mixmae_bench.suite.job import final_checkpoint
from mixmae_bench.system.files import check_writable

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


def ready(task: str, folder: Path, **options: object) -> Config:
    """Return the config of a run of two epochs of two iterations, or of what is left of them."""
    torch.set_num_threads(1)  # in a new process too
    cfg = find_data(load_config(SMOKE / f"{task}.py", options))
    cfg.work_dir = str(folder)
    cfg.experiment_name = f"{folder}_{random.SystemRandom().random()}"
    resume_latest(cfg)
    add_checkpoint_hooks(cfg)
    return cfg


def train(task: str, folder: Path, stop: StopHook | None = None, **options: object) -> Runner:
    """Train as `tools/train.py --resume` does."""
    runner = Runner.from_cfg(ready(task, folder, **options))
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


def test_an_iteration_based_run_goes_on_with_the_images_and_masks_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    config = tmp_path / "by_iteration.py"
    config.write_text(
        f"_base_ = {str(SMOKE / 'pretraining.py')!r}\n"
        "train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))\n"
        "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=4)\n"
        "default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))\n"
    )
    train(config.with_suffix(""), tmp_path / "undisturbed")
    with pytest.raises(Stop):
        train(config.with_suffix(""), tmp_path / "stopped", StopHook(kill=False))
    train(config.with_suffix(""), tmp_path / "stopped")
    ends = [weights(tmp_path / name, "iter_4.pth") for name in ("stopped", "undisturbed")]
    assert_same(*ends)


def test_random_states_put_back_give_the_same_numbers_from_every_generator() -> None:
    def draw() -> list:
        return [
            *(random.random(), random.gauss()),
            *(np.random.rand(), np.random.standard_normal()),
            *torch.rand(2).tolist(),
        ]

    draw()  # leaves half a pair of normal numbers behind in two of them
    states = random_states()
    first = draw()
    assert draw() != first
    set_random_states(states)
    assert draw() == first


# Files.


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(undisturbed, tmp_path / "run"))


def test_two_checkpoints_are_kept_where_the_config_keeps_one(undisturbed: Path) -> None:
    assert load_config(SMOKE / "pretraining.py").default_hooks.checkpoint.max_keep_ckpts == 1
    assert sorted(file.name for file in undisturbed.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]
    assert list(undisturbed.glob(".*")) == []


def test_older_checkpoints_are_removed_also_those_from_before_a_resume(folder: Path) -> None:
    train("pretraining", folder, **{"train_cfg.max_epochs": 4})
    assert sorted(file.name for file in folder.glob("*.pth")) == ["epoch_3.pth", "epoch_4.pth"]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    damage: object, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert intact(folder / "epoch_2.pth")
    assert latest_intact(folder) == folder / "epoch_2.pth"
    assert capsys.readouterr().err == ""
    assert final_checkpoint(folder) == folder / "epoch_2.pth"
    damage(folder / "epoch_2.pth")
    assert final_checkpoint(folder) is None
    assert latest_intact(folder) == folder / "epoch_1.pth"
    warning = capsys.readouterr().err
    assert str(folder / "epoch_2.pth") in warning or "epoch_2.pth is missing" in warning
    assert warning.count("\n") == 1


def test_a_run_whose_last_checkpoint_is_damaged_makes_the_same_again(folder: Path, undisturbed: Path) -> None:
    truncate(folder / "epoch_2.pth")
    train("pretraining", folder)
    assert_same(weights(folder), weights(undisturbed))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda content: content.pop("optimizer"), "it has no 'optimizer'"),
        (lambda content: content["state_dict"].pop("decoder.mask_token"), "'decoder.mask_token' is not in "),
        (
            lambda content: content["state_dict"].update({"decoder.mask_token": torch.zeros(3)}),
            "it is of another model, 'decoder.mask_token' has shape (3,) there, (1, 1, ",
        ),
    ],
)
def test_a_checkpoint_that_is_none_of_this_training_is_not_gone_on_from(
    change: Callable[[dict], object], part: str, folder: Path
) -> None:
    content = read_checkpoint(folder / "epoch_1.pth")
    change(content)
    torch.save(content, folder / "epoch_2.pth")
    with pytest.raises(UserError, match=re.escape(part)):
        train("pretraining", folder)


def test_checkpoints_of_a_longer_run_that_was_there_before_are_not_resumed(folder: Path) -> None:
    shutil.copy(folder / "epoch_2.pth", folder / "epoch_10.pth")
    truncate(folder / "epoch_2.pth")
    assert latest_intact(folder) == folder / "epoch_1.pth"
    truncate(folder / "epoch_1.pth")
    assert latest_intact(folder) is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_is_one_line_and_leaves_the_checkpoint_before(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def full(file: int) -> None:
        if list(tmp_path.glob(".epoch_2.pth.*.part")):
            raise OSError(code, os.strerror(code))
        sync(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as error:
        train("pretraining", tmp_path)
    text = str(error.value)
    assert f"checkpoint epoch_2.pth cannot be written to {tmp_path}: {os.strerror(code)}; " in text
    assert f"{tmp_path / 'epoch_1.pth'} is intact" in text
    assert "\n" not in text
    assert latest_intact(tmp_path) == tmp_path / "epoch_1.pth"
    assert [file.name for file in tmp_path.glob("*epoch_2*")] == []


def test_a_folder_that_cannot_be_written_to_is_named_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"folder {re.escape(str(tmp_path))}/file/run cannot be .*--work-dir"):
        check_writable(tmp_path / "file" / "run")


def test_a_hook_of_another_kind_in_the_place_of_the_checkpoints_stays() -> None:
    for own in (dict(type="MyHook", max_keep_ckpts=1), dict(type="CheckpointHook", out_dir="s3://b"), None):
        cfg = Config(
            dict(
                default_hooks=dict(checkpoint=own),
                train_dataloader={},
                optim_wrapper={},
                train_cfg=dict(max_epochs=1),
            )
        )
        add_checkpoint_hooks(cfg)
        assert cfg.default_hooks.checkpoint == own


# Bad numbers.


class SpoilHook(Hook):
    """Puts a NaN into a weight before or after the step of an iteration."""

    priority = "VERY_HIGH"

    def __init__(self, iteration: int, when: str) -> None:
        self.iteration = iteration
        setattr(self, f"{when}_train_iter", self.spoil)

    def spoil(self, runner: Runner, **_: object) -> None:
        if runner.iter == self.iteration:
            runner.model.backbone.patch_embed.proj.weight.data[0] = torch.nan


def test_a_loss_that_is_not_finite_stops_the_run_with_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        train("pretraining", tmp_path, SpoilHook(2, "before"))
    text = str(error.value)
    assert "loss nan at iteration 3; " in text
    assert f"last good checkpoint: {tmp_path / 'epoch_1.pth'}; likely: a learning rate" in text
    assert "\n" not in text


def test_weights_that_a_last_step_spoiled_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"proj.weight is not finite, epoch_1.pth not written; no ch"):
        train("pretraining", tmp_path, SpoilHook(1, "after"))
    assert list(tmp_path.glob("*.pth")) == []


def test_fp16_is_a_likely_cause_only_where_losses_are_scaled() -> None:
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    for wrapper, named in ((SimpleNamespace(loss_scaler=scaler), True), (SimpleNamespace(), False)):
        runner = SimpleNamespace(
            optim_wrapper=wrapper, message_hub=SimpleNamespace(runtime_info={}), model=None
        )
        # The loss is as it was before scaling: a step left out for its scaled gradients does not show.
        check_loss(runner, 6e4, 6)
        with pytest.raises(UserError, match="loss inf at iteration 7") as error:
            check_loss(runner, torch.inf, 6)
        assert ("loss scale 1024" in str(error.value)) is named


def test_gradients_that_a_config_does_not_clip_are_measured_and_left_as_they_are() -> None:
    cfg = load_config(SMOKE / "pretraining.py")
    assert not cfg.optim_wrapper.get("clip_grad")
    add_checkpoint_hooks(cfg)
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=1.0), clip_grad=dict(cfg.optim_wrapper.clip_grad))
    wrapper.update_params((weight * torch.tensor([3e4, 4e4])).sum())
    assert wrapper.message_hub.get_scalar("train/grad_norm").current() == 5e4
    assert weight.tolist() == [1 - 3e4, 2 - 4e4]
