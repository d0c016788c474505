"""Training images per second of one core, and where the time goes.

Pipelines of mmpretrain, torchvision and configs load the same JPEG files alternately in one process, so other
load on the machine affects all of them equally. Each produces batches of uint8 (B, 3, H, W). Speeds are per
second of CPU time, which excludes other processes; wall time is recorded too.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from mmengine.dataset import default_collate
from mmengine.hub import get_config
from mmengine.registry import TRANSFORMS, DefaultScope
from photos import make_photos
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torchvision import transforms
from torchvision.datasets.folder import default_loader

from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import append_record
from mixmae_bench.system.environment import code_version, hardware, package_version, packages

DEFAULT = "mixmae_swin-b-w14_16xb128-600e_in1k"
MMPRETRAIN = "mmpretrain::_base_/datasets/imagenet_bs512_mae.py"
LOADING_SCHEMA = 1
"""Version of the fields of `Loading`."""

BATCH = 32  # images per collation
COLLATE = "collate"
"""Name of the last stage."""


@dataclass(frozen=True)
class Loading:
    """Speed of one input pipeline on one core, one JSON line of the records.

    Attributes:
        schema: Version of these fields.
        pipeline: Config or package.
        images: Number of files.
        kilobytes: Mean size of a file, kB (1000 bytes).
        rounds: Number of times that all files were loaded.
        images_per_s: Images per second of CPU time in the median round.
        slowest: The same in the slowest round.
        fastest: The same in the fastest round.
        wall_images_per_s: Images per second of wall time in the median round.
        stages_ms: CPU time of each stage per image, ms, in the median round.
        started: Start time, ISO 8601 in UTC.
        code: See `mixmae_bench.results.record.Record`.
        packages: See there.
        hardware: See there.
    """

    schema: int
    pipeline: str
    images: int
    kilobytes: float
    rounds: int
    images_per_s: float
    slowest: float
    fastest: float
    wall_images_per_s: float
    stages_ms: dict[str, float]
    started: str
    code: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]


@dataclass(frozen=True)
class Pipeline:
    """An input pipeline, from files to a batch.

    Attributes:
        name: Config or package.
        stages: Names and transforms, in order.
        first: Function that returns the initial sample of a path.
        collate: Function that returns the batch of samples.
    """

    name: str
    stages: list[tuple[str, Callable]]
    first: Callable[[str], object]
    collate: Callable[[list], object]


def pipelines_of(configs: list[str]) -> list[Pipeline]:
    """Return mmpretrain's pipeline of MAE, torchvision's equivalent, and the training pipelines of configs.

    Raises:
        UserError: If a config has no training pipeline of mmpretrain.
    """
    found = []
    for path in configs:
        cfg = load_config(path)
        dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
        if cfg.get("default_scope") != "mmpretrain" or "pipeline" not in dataset:
            raise UserError(f"{path} has no training pipeline of mmpretrain; give a config of pretraining")
        found.append(_of_openmmlab(path, dataset.pipeline))
    theirs = get_config(MMPRETRAIN).train_dataloader.dataset.pipeline
    return [_of_openmmlab("mmpretrain", theirs), _of_torchvision(), *found]


def _of_openmmlab(name: str, pipeline: list[dict]) -> Pipeline:
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        built = [TRANSFORMS.build(transform) for transform in pipeline]
    stages = [(type(transform).__name__, transform) for transform in built]
    return Pipeline(name, stages, lambda path: dict(img_path=path, gt_label=0), default_collate)


def _of_torchvision() -> Pipeline:
    """Return ImageFolder's loader and the transforms of MAE's code, without normalisation."""
    bicubic = transforms.InterpolationMode.BICUBIC
    built = [
        transforms.RandomResizedCrop(224, scale=(0.2, 1.0), interpolation=bicubic),
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ]
    stages = [("ImageFolder", default_loader), *((type(stage).__name__, stage) for stage in built)]
    return Pipeline("torchvision", stages, lambda path: path, torch.utils.data.default_collate)


def measure(pipelines: list[Pipeline], images: int, rounds: int, console: Console) -> list[Loading]:
    """Time the pipelines on the same generated images, alternating between the pipelines.

    Args:
        pipelines: The pipelines, in the order of each round.
        images: Number of files.
        rounds: Number of times that each pipeline loads all files, after one warm-up batch.
        console: Console for the progress bar.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with (
        tempfile.TemporaryDirectory() as folder,
        _one_thread(),
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("making images", total=rounds * len(pipelines))
        paths = make_photos(Path(folder) / "photos", images)
        kilobytes = sum(path.stat().st_size for path in paths) / 1000 / images
        files = [str(path) for path in paths]
        for pipeline in pipelines:
            _load(pipeline, files[:BATCH], seed=0)
        spent: list[list[tuple[dict[str, float], float]]] = [[] for _ in pipelines]
        for turn in range(rounds):
            for pipeline, own in zip(pipelines, spent, strict=True):
                own.append(_load(pipeline, files, seed=turn))
                progress.update(task, advance=1, description=f"round {turn + 1} of {rounds}")
    about = dict(
        kilobytes=round(kilobytes, 1),
        started=started,
        code=code_version(),
        packages=packages() | _decoders(),
        hardware=hardware(),
    )
    return [_loading(p, own, images, about) for p, own in zip(pipelines, spent, strict=True)]


def show(results: list[Loading], console: Console) -> None:
    """Print a row per pipeline, with its ratio to the first, and the CPU time of its stages."""
    first = results[0]
    table = Table(
        title=f"{first.images} JPEG files of {first.kilobytes:.0f} kB, one core, {first.rounds} rounds",
        title_justify="left",
        box=None,
    )
    for title in ("", "images/s", "slowest to fastest", "x", "by wall time"):
        table.add_column(title, justify="right")
    for number, r in enumerate(results, 1):
        table.add_row(
            str(number),
            f"{r.images_per_s:.0f}",
            f"{r.slowest:.0f} to {r.fastest:.0f}",
            f"{r.images_per_s / first.images_per_s:.2f}",
            f"{r.wall_images_per_s:.0f}",
        )
    console.print(table)
    for number, r in enumerate(results, 1):
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in r.stages_ms.items())
        console.print(f"{number}  {r.pipeline}: {stages} ms", soft_wrap=True, highlight=False)
    console.print("images/s of CPU time by the median round; ms of CPU time per image", style="dim")


def _load(pipeline: Pipeline, files: list[str], seed: int) -> tuple[dict[str, float], float]:
    """Load all files once; return the CPU seconds of each stage, and the total wall seconds."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    spent = dict.fromkeys([*(name for name, _ in pipeline.stages), COLLATE], 0.0)
    start, now = time.perf_counter(), time.process_time()
    for batch in _batches(files):
        samples = []
        for file in batch:
            sample = pipeline.first(file)
            for name, stage in pipeline.stages:
                before, sample = now, stage(sample)
                now = time.process_time()
                spent[name] += now - before
            samples.append(sample)
        before, _ = now, pipeline.collate(samples)
        now = time.process_time()
        spent[COLLATE] += now - before
    return spent, time.perf_counter() - start


def _batches(files: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(files), BATCH):
        yield files[start : start + BATCH]


def _loading(
    pipeline: Pipeline, spent: list[tuple[dict[str, float], float]], images: int, about: dict
) -> Loading:
    cpu = [sum(stages.values()) for stages, _ in spent]
    return Loading(
        schema=LOADING_SCHEMA,
        pipeline=pipeline.name,
        images=images,
        rounds=len(spent),
        images_per_s=round(images / median(cpu), 2),
        slowest=round(images / max(cpu), 2),
        fastest=round(images / min(cpu), 2),
        wall_images_per_s=round(images / median(wall for _, wall in spent), 2),
        stages_ms={
            name: round(1000 * median(stages[name] for stages, _ in spent) / images, 4)
            for name in spent[0][0]
        },
        **about,
    )


def _decoders() -> dict[str, str]:
    return {"opencv": cv2.__version__, "pillow": package_version("pillow")}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit OpenCV and PyTorch to one thread, as in a worker of a data loader."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


def main(argv: list[str] | None = None) -> None:
    """Time the pipelines of mmpretrain, torchvision and configs; print and record the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("configs", nargs="*", default=[DEFAULT], help=f"default: {DEFAULT}")
    parser.add_argument("--images", type=int, default=256, help="JPEG files to make (default: 256)")
    parser.add_argument("--rounds", type=int, default=10, help="how often each loads them (default: 10)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="add the results to a JSON-lines file")
    args = parser.parse_args(argv)
    console = Console()
    results = measure(pipelines_of(args.configs), args.images, args.rounds, console)
    show(results, console)
    if args.record:
        for result in results:
            append_record(args.record, result)


if __name__ == "__main__":
    main()
