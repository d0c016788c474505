"""Runs that start in the same second have losses, message hubs and logs of their own."""

import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.prepare import build, prepare

SMOKE = Path(__file__).parent / "smoke"


def config(folder: Path) -> Config:
    return prepare(load_config(SMOKE / "pretraining.py"), folder, 1)


def test_two_runs_of_a_config_in_one_second_share_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.8e9)  # read by mmengine for the names of a run
    first, second = (build(config(tmp_path / name), "none", train=False) for name in ("a", "b"))
    first.message_hub.update_scalar("train/loss", 1.0)
    assert "train/loss" not in second.message_hub.log_scalars


def test_a_run_in_a_folder_with_a_log_of_the_same_second_waits_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(["now", "now", "next"])
    monkeypatch.setattr(time, "strftime", lambda *_: next(seconds, "next"))
    (tmp_path / "now").mkdir()
    runner = build(config(tmp_path), "none", train=False)
    assert Path(runner.log_dir).name == "next"
