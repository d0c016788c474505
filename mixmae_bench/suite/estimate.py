"""Estimate the FLOPs, GPU hours and GPU memory of a suite from its configs, without data or training.

Hours of training come from a record of the config's training step on the GPU, if there is one
(`mixmae_bench.suite.gpu_speed`), else from FLOPs. Several GPUs are assumed to be as many times as fast.

A run costs 3 forward passes per training image, as a backward pass costs two (4 if activations are
recomputed, 1 with a frozen backbone), and 1 per evaluated image. FLOPs are counted by
`mixmae_bench.cost.flops` (a multiply-add counts as one), at the image sizes of `mixmae-bench flops`. These
sizes approximate random crops and whole images.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from rich.console import Console
from rich.table import Table

from mixmae_bench.cost.flops import count
from mixmae_bench.cost.models import config_call
from mixmae_bench.datasets.catalog import CATALOG, published_images
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.results.measurements import Count
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.gpu_speed import GpuSpeed
from mixmae_bench.suite.spec import Run, Suite


@dataclass(frozen=True)
class Training:
    """Estimated cost of training a config.

    Attributes:
        config: The config.
        flops: FLOPs of a forward pass per image.
        trained: Number of training images, repetitions included.
        evaluated: Number of evaluated images, repetitions included.
        passes: Cost of a training step in forward passes.
        gpus: Number of GPUs that the config is written for.
    """

    config: Path
    flops: int
    trained: int
    evaluated: int
    passes: int
    gpus: int

    @property
    def total(self) -> int:
        """FLOPs of the whole training."""
        return self.flops * (self.passes * self.trained + self.evaluated)

    def hours(self, speed: GpuSpeed) -> float:
        """Return the GPU hours of the training."""
        step = speed.step(self.config)
        if step is None:
            return self.total / speed.flops_per_s / 3600
        evaluation = self.flops * self.evaluated / speed.flops_per_s
        return (self.trained / step.images_per_s + evaluation) / 3600


@dataclass(frozen=True)
class Estimate(Training):
    """Estimated cost of a run of a suite."""

    run: Run


def of_count(config: Path, counted: Count) -> Training:
    """Return the estimate of a config from the record of its FLOPs, without building the model.

    A model with fewer trainable than other parameters has a frozen backbone.

    Raises:
        UserError: If the config cannot be read, or the size of its data set is unknown.
    """
    cfg = load_config(config)
    passes = _passes(cfg, frozen=2 * counted.trainable < counted.params)
    return Training(config, counted.flops, *_images(cfg), passes, gpus_of(cfg))


def estimate(suite: Suite) -> Iterator[Estimate]:
    """Yield the estimate of every run, in the order of `Suite.all_runs`.

    Without chosen settings, the runs of the results are those of the configs.

    Raises:
        UserError: If a config is incomplete, or the size of its data set is unknown.
    """
    known: dict[str, tuple[int, int]] = {}
    for run in suite.all_runs():
        cfg = config_of(run)
        text = json.dumps(cfg.model.to_dict(), default=str, sort_keys=True)
        if text not in known:
            known[text] = _forward(cfg)
        flops, passes = known[text]
        yield Estimate(run.config, flops, *_images(cfg), passes, gpus_of(cfg), run)


def show_estimate(suite: Suite, speed: GpuSpeed, console: Console) -> None:
    """Print the estimates of all runs of a suite, and their sums.

    Args:
        suite: The suite.
        speed: Speed of one GPU.
        console: Where to print.
    """
    table = Table("method", "task", "from", box=None)
    for title in ("images (M)", "FLOPs/image (G)", "FLOPs (E)", "GPUs", "GPU hours", "hours", "GB at batch"):
        table.add_column(title, justify="right")
    seeds = len(suite.seeds)
    hours = dict.fromkeys(suite.methods, 0.0)
    rows: dict[tuple[str, str], list[Estimate]] = {}
    with console.status("counting"):
        for item in estimate(suite):
            run, tuning = item.run, item.run.split is not None
            hours[run.method.name] += item.hours(speed)
            if tuning or run.seed == suite.seeds[0]:
                title = f"{run.task} tuning" if tuning else run.task
                rows.setdefault((run.method.name, title), []).append(item)
    for method in suite.methods:
        table.add_section()
        for (own, title), items in rows.items():
            several = f" x {len(items)}" if len(items) > 1 else ""
            if own == method:
                table.add_row(method, f"{title}{several}", *_row(items, speed))
    console.print(table)
    for name, sum_ in hours.items():
        console.print(f"{name}: {_number(sum_)} GPU hours", highlight=False)
    console.print(
        f"suite {suite.name}, {seeds} seed{'s' * (seeds > 1)}: {_number(sum(hours.values()))} GPU hours on "
        f"{speed.gpu}. {_basis(speed)}",
        highlight=False,
        soft_wrap=True,
    )


def _basis(speed: GpuSpeed) -> str:
    """Return the sentences that state what the hours are computed from."""
    hours = "Hours"
    if speed.steps:
        hours = "Hours in rows with memory (GB at batch) are from records of the training step; others"
    return (
        f"{hours} are FLOPs at {speed.flops_per_s:.3g} multiply-adds per second ({speed.basis}). --gpu and "
        "--flops-per-s choose another speed."
    )


def _row(items: list[Estimate], speed: GpuSpeed) -> list[str]:
    """Return the cells of a row, summed over its runs, which differ in their settings only."""
    total = sum(item.total for item in items)
    hours, one = sum(item.hours(speed) for item in items), items[0]
    step = speed.step(one.config)
    return [
        one.run.initialisation,
        _number(sum(item.trained for item in items) / 1e6),
        _number(one.flops / 1e9),
        _number(total / 1e18),
        str(one.gpus),
        _number(hours),
        _number(hours / one.gpus),
        f"{step.peak_memory_mb / 1000:.1f} at {step.batch}" if step else "",
    ]


def _forward(cfg: Config) -> tuple[int, int]:
    """Return the FLOPs of a forward pass per image, and the cost of a training step in forward passes."""
    MMLogger.get_current_instance().setLevel("WARNING")
    with warnings.catch_warnings(action="ignore"):  # the frameworks warn about their own configs
        call = config_call(cfg, None, "meta")
        cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    frozen = not any(p.requires_grad for p in call.model.backbone.parameters())
    return cost.flops, _passes(cfg, frozen)


def _passes(cfg: Config, frozen: bool) -> int:
    """Return the cost of a training step in forward passes."""
    return 1 if frozen else 3 + bool(cfg.model.backbone.get("with_cp"))


def _images(cfg: Config) -> tuple[int, int]:
    """Return the numbers of training and of evaluated images of a run, repetitions included."""
    train, val = (_size(cfg, loader) for loader in ("train_dataloader", "val_dataloader"))
    length = cfg.train_cfg.get("max_epochs") or cfg.train_cfg.max_iters
    evaluations = math.ceil(length / cfg.train_cfg.get("val_interval", 1))
    trained = length * (train if "max_epochs" in cfg.train_cfg else _batch(cfg))
    return trained, evaluations * val


def _size(cfg: Config, loader: str) -> int:
    """Return the number of images in an epoch of a loader, 0 without a loader."""
    return sum(
        leaf.times * round(leaf.share * _images_of(leaf.dataset, cfg))
        for leaf in leaves(cfg)
        if leaf.loader == loader
    )


def _images_of(dataset: Mapping, cfg: Config) -> int:
    if indices := dataset.get("indices"):
        return indices
    images = published_images(dataset)
    if images is None:
        place = Path(dataset.get("data_root") or ".", dataset.get("ann_file") or "")
        roots = ", ".join(entry.root for entry in CATALOG.values())
        raise UserError(
            f"config {cfg.filename}: the number of images of {place} is not known; known: {roots}; "
            "see docs/add-a-dataset.md to add a data set"
        )
    return images


def _batch(cfg: Config) -> int:
    own = cfg.train_dataloader.batch_size
    return (cfg.get("auto_scale_lr") or {}).get("base_batch_size", own)


def gpus_of(cfg: Config) -> int:
    """Return the number of GPUs of a config: its effective batch size over the share of one GPU."""
    accumulation = cfg.optim_wrapper.get("accumulative_counts", 1)
    return max(1, _batch(cfg) // (cfg.train_dataloader.batch_size * accumulation))


def _number(value: float) -> str:
    """Format a number with three significant digits, or as an integer from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
