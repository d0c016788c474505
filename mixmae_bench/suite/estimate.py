"""Estimate the FLOPs and GPU hours of a suite from its configs, without data and without training.

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
from mixmae_bench.errors import UserError
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.spec import Run, Suite

UTILISATION = 0.15
FLOPS_PER_S = 989e12 / 2 * UTILISATION
"""An H100's dense bfloat16 peak (989e12, a multiply-add counted twice), times an assumed utilisation."""


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a run.

    Attributes:
        run: The run.
        flops: FLOPs of a forward pass per image.
        trained: Number of training images, repetitions included.
        evaluated: Number of evaluated images, repetitions included.
        passes: Cost of a training step in forward passes.
        gpus: Number of GPUs that the config is written for.
    """

    run: Run
    flops: int
    trained: int
    evaluated: int
    passes: int
    gpus: int

    @property
    def total(self) -> int:
        """FLOPs of the whole run."""
        return self.flops * (self.passes * self.trained + self.evaluated)


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
        yield Estimate(run, flops, *_images(cfg), passes, gpus_of(cfg))


def show_estimate(suite: Suite, flops_per_s: float | None, console: Console) -> None:
    """Print the estimates of all runs of a suite, and their sums.

    Args:
        suite: The suite.
        flops_per_s: Speed of one GPU, or None for `FLOPS_PER_S`.
        console: Where to print.
    """
    speed = flops_per_s or FLOPS_PER_S
    table = Table("method", "task", "from", box=None)
    for title in ("images (M)", "FLOPs/image (G)", "FLOPs (E)", "GPUs", "GPU hours", "hours"):
        table.add_column(title, justify="right")
    seeds = len(suite.seeds)
    hours = dict.fromkeys(suite.methods, 0.0)
    rows: dict[tuple[str, str], list[Estimate]] = {}
    with console.status("counting"):
        for item in estimate(suite):
            run, tuning = item.run, item.run.split is not None
            hours[run.method.name] += item.total / speed / 3600
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
    assumed = "" if flops_per_s else f" (an H100's bfloat16 peak at an assumed {UTILISATION:.0%})"
    console.print(
        f"suite {suite.name}, {seeds} seed{'s' * (seeds > 1)}: {_number(sum(hours.values()))} GPU hours at "
        f"{speed:.3g} multiply-adds per second and GPU{assumed}; --flops-per-s sets another speed",
        highlight=False,
        soft_wrap=True,
    )


def _row(items: list[Estimate], speed: float) -> list[str]:
    """Return the cells of a row, summed over its runs, which differ in their settings only."""
    total = sum(item.total for item in items)
    hours, one = total / speed / 3600, items[0]
    return [
        one.run.initialisation,
        _number(sum(item.trained for item in items) / 1e6),
        _number(one.flops / 1e9),
        _number(total / 1e18),
        str(one.gpus),
        _number(hours),
        _number(hours / one.gpus),
    ]


def _forward(cfg: Config) -> tuple[int, int]:
    """Return the FLOPs of a forward pass per image, and the cost of a training step in forward passes."""
    MMLogger.get_current_instance().setLevel("WARNING")
    with warnings.catch_warnings(action="ignore"):  # the frameworks warn about their own configs
        call = config_call(cfg, None, "meta")
        cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    frozen = not any(p.requires_grad for p in call.model.backbone.parameters())
    return cost.flops, 1 if frozen else 3 + bool(cfg.model.backbone.get("with_cp"))


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
