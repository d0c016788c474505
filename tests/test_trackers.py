"""Curves and records in trackers."""

import importlib.util
from pathlib import Path

import pytest
from mmengine.config import Config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_record import RECORD

from mixmae_bench.engine.trackers import check_trackers, export, track
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import append_record


def test_a_config_keeps_its_own_back_ends_beside_those_that_are_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    own = dict(type="DetLocalVisualizer", name="mine", vis_backends=[dict(type="LocalVisBackend")])
    cfg = Config(dict(visualizer=own))
    track(cfg, ["tensorboard", "wandb", "mlflow"], "digits", "mixmae/seed0/detection")
    assert (cfg.visualizer.type, cfg.visualizer.name) == ("DetLocalVisualizer", "mine")
    assert cfg.visualizer.vis_backends == [
        dict(type="LocalVisBackend"),
        dict(type="TensorboardVisBackend"),
        dict(type="WandbVisBackend", init_kwargs=dict(project="digits", name="mixmae/seed0/detection")),
        dict(
            type="MLflowVisBackend",
            exp_name="digits",
            run_name="mixmae/seed0/detection",
            tracking_uri="sqlite:///mlflow.db",
        ),
    ]


def test_a_config_without_visualizer_keeps_the_log_on_disk() -> None:
    cfg = Config({})
    track(cfg, ["tensorboard"], "digits", "run")
    types = [backend.type for backend in cfg.visualizer.vis_backends]
    assert types == ["LocalVisBackend", "TensorboardVisBackend"]


def test_without_trackers_a_config_stays_as_it_is() -> None:
    cfg = Config({})
    track(cfg, [], "digits", "run")
    assert cfg.to_dict() == {}


def test_a_tracker_that_is_unknown_or_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"unknown tracker 'tensorbord'; .*tensorboard.*Did you mean"):
        check_trackers(["tensorbord"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="wandb is not installed; run: pip install wandb"):
        check_trackers(["wandb"])


def test_exported_records_hold_curves_metrics_and_their_errors(tmp_path: Path) -> None:
    append_record(tmp_path / "records.jsonl", RECORD)
    assert export([tmp_path / "records.jsonl"], "tensorboard", tmp_path / "out") == 1
    events = EventAccumulator(str(tmp_path / "out" / "digits" / "mixmae" / "seed0" / "detection"))
    events.Reload()
    curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert curves == {
        "loss": [(1, 1.5), (2, 0.75)],
        "grad_norm": [(1, 3.0), (2, 2.5)],
        "box_ap": [(2, 31.25)],
        "mask_ap": [(2, 30.0)],
        "box_ap standard error": [(2, 1.5)],
        "mask_ap standard error": [(2, 1.25)],
    }


def test_a_line_that_is_no_record_is_not_left_out_in_silence(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1 is skipped"):
        export([tmp_path / "records.jsonl"], "tensorboard", tmp_path / "out")
