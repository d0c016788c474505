"""Hook that keeps the curves of a training, and writes them to its folder after every epoch."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmdet.evaluation import CocoMetric
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mixmae_bench.registry import HOOKS
from mixmae_bench.results.curves import FILE, Curve
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.system.files import write_atomically


@HOOKS.register_module()
class CurvesHook(Hook):
    """Writes losses and metrics so far to `results.curves.FILE` in the training's folder; on rank 0 only.

    A resumed training keeps the metrics of the epochs before.

    Args:
        name: METHOD/seedN/TASK of a run of a suite, or '' outside a suite.

    Attributes:
        curves: Pairs of epoch and value of every evaluation, by the names of `results.metrics`.
    """

    priority = "VERY_LOW"  # after the hooks that log losses

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.curves: dict[str, Curve] = {}

    def before_train(self, runner: Runner) -> None:
        if runner.iter:
            done = runner.iter / len(runner.train_dataloader)
            known = _read(Path(runner.work_dir) / FILE)
            self.curves = {
                name: [(epoch, value) for epoch, value in curve if epoch <= done]
                for name, curve in known.items()
            }

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        done = runner.iter + 1
        if is_main_process() and done % len(runner.train_dataloader) == 0:
            self._write(runner, done)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        epoch = runner.iter / len(runner.train_dataloader)
        for name, value in catalogued(runner, metrics or {}).items():
            curve = [point for point in self.curves.get(name, []) if point[0] != epoch]
            self.curves[name] = [*curve, (epoch, value)]
        if is_main_process():
            self._write(runner, runner.iter)

    def before_last(self, runner: Runner) -> dict[str, list[list[float]]]:
        """Return the curves without the evaluation at the end, in the form of a record."""
        end = runner.max_iters / len(runner.train_dataloader)
        curves = {
            name: [list(point) for point in curve if point[0] < end] for name, curve in self.curves.items()
        }
        return {name: curve for name, curve in curves.items() if curve}

    def _write(self, runner: Runner, done: int) -> None:
        content = {
            "name": self.name,
            "config": Path(runner.cfg.filename or "").stem,
            "epoch": done / len(runner.train_dataloader),
            "losses": epoch_means(runner, "train/loss", done),
            "curves": self.curves,
        }
        write_atomically(Path(runner.work_dir) / FILE, json.dumps(content))


def _read(path: Path) -> dict[str, Curve]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["curves"]
    except (OSError, ValueError, KeyError):
        return {}  # of an older version


def catalogued(runner: Runner, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of an evaluation that are in the catalog, by its names and in its units."""
    for metric in runner.val_evaluator.metrics:
        if isinstance(metric, CocoMetric):  # returns nothing if there are no detections
            metrics = {f"coco/{kind}_mAP": 0.0 for kind in metric.metrics} | dict(metrics)
    return {
        metric.name: round(float(metrics[metric.framework_key]) * metric.scale, 4)
        for metric in METRICS.values()
        if metric.framework_key in metrics
    }


def epoch_means(runner: Runner, scalar: str, done: int) -> list[float]:
    """Return the mean of a logged value per epoch, including the epochs before a resume.

    Non-finite values are left out, such as gradient norms of steps that loss scaling skipped.

    Args:
        runner: The runner.
        scalar: Name of the logged value.
        done: Number of iterations so far.
    """
    if scalar not in runner.message_hub.log_scalars:
        return []  # clipping by value logs no norm
    values, _ = runner.message_hub.get_scalar(scalar).data
    epoch = max(1, round(len(runner.train_dataloader) * len(values) / done))  # fewer when accumulating
    # Count back from the last value: before a resume with another number of processes, epochs had another
    # length.
    ends = range(len(values), 0, -epoch)
    epochs = (values[max(0, end - epoch) : end] for end in reversed(ends))
    return [round(float(np.mean(own[np.isfinite(own)])), 5) for own in epochs]
