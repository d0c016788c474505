"""What the hooks of a run measure."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from mixmae_bench.engine.curves import CurvesHook
from mixmae_bench.results.curves import FILE, read_training
from mixmae_bench.suite import hooks
from mixmae_bench.suite.hooks import ProgressHook

LOADING, STEP, VALIDATION = 1.0, 10.0, 1e3


class Clock:
    """Stands still but where something takes its time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hooks, "time", clock)
    return clock


class Toy(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor, mode: str) -> dict | list:
        return {"loss": self.weight.sum()} if mode == "loss" else [BaseDataElement()]


class Nothing(BaseMetric):
    def process(self, data_batch: object, data_samples: object) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {"top1": 1.0}


class Takes(Hook):
    """Lets time pass in a step and in a validation."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def after_train_iter(self, runner: Runner, **_: object) -> None:
        self.clock.now += STEP

    def after_val_epoch(self, runner: Runner, metrics: object = None) -> None:
        self.clock.now += VALIDATION


def run(folder: Path, clock: Clock, loop: dict, **options: object) -> ProgressHook:
    def collate(batch: list) -> dict[str, torch.Tensor]:
        clock.now += LOADING
        return {"inputs": torch.zeros(len(batch))}

    def loader() -> DataLoader:
        return DataLoader(list(range(8)), batch_size=2, collate_fn=collate)

    runner = Runner(
        Toy(),
        work_dir=str(folder),
        train_dataloader=loader(),
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        val_dataloader=DataLoader([0], collate_fn=lambda batch: {"inputs": torch.zeros(1)}),
        val_cfg=dict(),
        val_evaluator=[Nothing()],
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch="by_epoch" in loop, interval=2)),
        experiment_name=folder.name,
        **options,
    )
    progress = ProgressHook(str(folder / "progress.json"))
    runner.register_hook(progress)
    runner.register_hook(Takes(clock), priority="VERY_HIGH")
    runner.train()
    return progress


@pytest.mark.parametrize(
    "loop",
    [
        dict(by_epoch=True, max_epochs=2),
        dict(type="IterBasedTrainLoop", max_iters=8, val_interval=2),
    ],
    ids=["epochs", "iterations"],
)
def test_the_time_of_training_is_without_validation(loop: dict, tmp_path: Path, clock: Clock) -> None:
    progress = run(tmp_path / "run", clock, loop)
    assert clock.now > VALIDATION
    assert progress.iters == 8
    assert progress.seconds == 8 * (STEP + LOADING)
    assert progress.metrics == {"top1": 1.0}


def test_batches_that_a_resumed_run_passes_over_are_not_in_its_time(tmp_path: Path, clock: Clock) -> None:
    loop = dict(type="IterBasedTrainLoop", max_iters=4, val_interval=100)
    run(tmp_path / "run", clock, loop)
    progress = run(
        tmp_path / "again",
        clock,
        {**loop, "max_iters": 6},
        resume=True,
        load_from=str(tmp_path / "run/iter_4.pth"),
    )
    assert progress.iters == 2
    assert progress.seconds == 2 * STEP + LOADING  # of the first batch the loading is not known apart


def test_curves_before_a_resume_are_kept_and_those_after_it_are_not(tmp_path: Path) -> None:
    old = {"curves": {"top1": [[1.0, 50.0], [2.0, 60.0], [3.0, 70.0]]}}
    (tmp_path / FILE).write_text(json.dumps(old))
    hub = SimpleNamespace(log_scalars={})
    cfg = SimpleNamespace(filename="configs/own.py")
    evaluator = SimpleNamespace(metrics=[])
    runner = SimpleNamespace(
        iter=8, max_iters=12, train_dataloader=range(4), work_dir=str(tmp_path), message_hub=hub, cfg=cfg,
        val_evaluator=evaluator,
    )  # fmt: skip
    hook = CurvesHook("a/seed0/b")
    hook.before_train(runner)
    runner.iter = 10
    hook.after_val_epoch(runner, {"accuracy/top1": 65.0})
    training = read_training(tmp_path)
    assert training.curves["top1"] == [(1, 50), (2, 60), (2.5, 65)]
    assert (training.name, training.config) == ("a/seed0/b", "own")
    assert hook.before_last(runner) == {"top1": [[1, 50], [2, 60], [2.5, 65]]}
    runner.max_iters = 10
    assert hook.before_last(runner) == {"top1": [[1, 50], [2, 60]]}
