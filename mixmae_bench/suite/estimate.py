"""What a suite takes before it is started: FLOPs of every run from its config; no data, no training.

A run costs 3 x (images trained on) forward passes, as a backward pass costs two (4 x where activations are
recomputed, 1 x with a frozen backbone), and one per image of every evaluation. FLOPs are those of
`mixmae_bench.cost.flops` (one multiply-add is one), at the sizes that `mixmae-bench flops` counts at, which
stand for those of random crops and whole images.
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
from mixmae_bench.suite.spec import Run, Suite

UTILISATION = 0.15
FLOPS_PER_S = 989e12 / 2 * UTILISATION
"""An H100's dense bfloat16 peak (989e12, where a multiply-add counts twice), at an assumed utilisation."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    Attributes:
        run: The run.
        flops: FLOPs of a forward pass per image.
        trained: Images trained on, each as often as it is seen.
        evaluated: Images evaluated, likewise.
        passes: Forward passes that a training step costs.
        gpus: Processes that the config is written for.
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
    """Yield what every run takes, in the order of `Suite.runs`.

    Raises:
        UserError: Where a config is missing something, or the size of its data is not known.
    """
    known: dict[str, tuple[int, int]] = {}
    for run in suite.runs():
        cfg = load_config(run.config)
        text = json.dumps(cfg.model.to_dict(), default=str, sort_keys=True)
        if text not in known:
            known[text] = _forward(cfg)
        flops, passes = known[text]
        yield Estimate(run, flops, *_images(cfg), passes, gpus_of(cfg))


def show_estimate(suite: Suite, flops_per_s: float | None, console: Console) -> None:
    """Print what every run of a suite takes, and the sums.

    Args:
        suite: The suite.
        flops_per_s: Speed of one GPU, or None for `FLOPS_PER_S`.
        console: Where to print.
    """
    speed = flops_per_s or FLOPS_PER_S
    table = Table("method", "task", "from", box=None)
    for title in ("images (M)", "FLOPs/image (G)", "FLOPs (E)", "GPUs", "GPU hours", "hours"):
        table.add_column(title, justify="right")
    hours: dict[str, float] = {}
    seeds = len(suite.seeds)
    with console.status("counting"):
        for item in estimate(suite):
            name = item.run.method.name
            own = item.total / speed / 3600
            if item.run.seed != suite.seeds[0]:
                hours[name] += own
                continue
            if name not in hours and hours:
                table.add_section()
            hours[name] = hours.get(name, 0.0) + own
            table.add_row(
                name,
                item.run.task,
                item.run.initialisation,
                _number(item.trained / 1e6),
                _number(item.flops / 1e9),
                _number(item.total / 1e18),
                str(item.gpus),
                _number(own),
                _number(own / item.gpus),
            )
    console.print(table)
    for name, sum_ in hours.items():
        console.print(f"{name}: {_number(sum_)} GPU hours", highlight=False)
    assumed = "" if flops_per_s else f" (an H100's bfloat16 peak at an assumed {UTILISATION:.0%})"
    console.print(
        f"suite {suite.name}, {seeds} seed{'s' * (seeds > 1)}: {_number(sum(hours.values()))} GPU hours at "
        f"{speed:.3g} multiply-adds per second and GPU{assumed}; --flops-per-s takes another speed",
        highlight=False,
        soft_wrap=True,
    )


def _forward(cfg: Config) -> tuple[int, int]:
    """Return the FLOPs of a forward pass per image, and how many of them a training step costs."""
    MMLogger.get_current_instance().setLevel("WARNING")
    with warnings.catch_warnings(action="ignore"):  # of the frameworks about their own configs
        call = config_call(cfg, None, "meta")
        cost = count(call.model, *call.inputs, forward=call.forward, images=call.images)
    frozen = not any(p.requires_grad for p in call.model.backbone.parameters())
    return cost.flops, 1 if frozen else 3 + bool(cfg.model.backbone.get("with_cp"))


def _images(cfg: Config) -> tuple[int, int]:
    """Return how many images a run trains on and how many it evaluates, each as often as it is seen."""
    train, val = (_size(cfg, loader) for loader in ("train_dataloader", "val_dataloader"))
    length = cfg.train_cfg.get("max_epochs") or cfg.train_cfg.max_iters
    evaluations = math.ceil(length / cfg.train_cfg.get("val_interval", 1))
    trained = length * (train if "max_epochs" in cfg.train_cfg else _batch(cfg))
    return trained, evaluations * val


def _size(cfg: Config, loader: str) -> int:
    """Return how many images a loader goes through in an epoch, 0 without a loader."""
    return sum(leaf.times * _images_of(leaf.dataset, cfg) for leaf in leaves(cfg) if leaf.loader == loader)


def _images_of(dataset: Mapping, cfg: Config) -> int:
    if indices := dataset.get("indices"):
        return indices
    images = published_images(dataset)
    if images is None:
        place = Path(dataset.get("data_root") or ".", dataset.get("ann_file") or "")
        roots = ", ".join(entry.root for entry in CATALOG.values())
        raise UserError(
            f"config {cfg.filename}: how many images {place} has is not known; known: {roots}; "
            "docs/add-a-dataset.md says how to add a data set"
        )
    return images


def _batch(cfg: Config) -> int:
    own = cfg.train_dataloader.batch_size
    return (cfg.get("auto_scale_lr") or {}).get("base_batch_size", own)


def gpus_of(cfg: Config) -> int:
    """Return the GPUs that a config is written for: its effective batch over what one of them does of it."""
    accumulation = cfg.optim_wrapper.get("accumulative_counts", 1)
    return max(1, _batch(cfg) // (cfg.train_dataloader.batch_size * accumulation))


def _number(value: float) -> str:
    """Write a number with three digits, or whole where it has more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
