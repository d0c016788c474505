"""The table of speed and memory, with ratios to the first model of each run. Does not import torch."""

from collections.abc import Iterable

from mixmae_bench.report.table import Table
from mixmae_bench.results.measurements import Speed

NOTES = [
    "images/s: by the median step, with those of the slowest and the fastest. peak MB: what model, optimiser "
    "and step took at most, frameworks not included. speed x, memory x: times that of the first row of the "
    "same run, in which all models took turns. launches: kernels that a step launches on a GPU. Steps "
    "follow each other without waiting for the GPU, as in training, except where 'waited' is said.",
    "GFLOPs: of a forward pass per image, decoder included in pretraining, a multiply-add is 1. of matmul: "
    "FLOP/s (a training step is three forward passes) as a share of a large matrix product's in that format; "
    "a convolution can be computed with fewer than are counted.",
]


def device(hardware: dict[str, str | int | None]) -> str:
    """Return the GPU of a record, or its CPU."""
    return str(hardware["gpu"] or hardware["cpu"])


def speed_table(speeds: Iterable[Speed]) -> Table:
    """Return a table with a row per model and number format, grouped by run, in the order of start."""
    runs: dict[tuple[str, str], list[Speed]] = {}
    for speed in sorted(speeds, key=lambda speed: speed.started):
        runs.setdefault((speed.started, device(speed.hardware)), []).append(speed)
    columns = ["run", "model", "step", "px", "batch", "format", "images/s", "slowest to fastest", "speed x"]
    columns += ["peak MB", "memory x", "launches", "GFLOPs", "of matmul", "on"]
    rows = [[str(i), *_row(speed, run[0])] for i, run in enumerate(runs.values(), 1) for speed in run]
    return Table("Speed and memory", columns, rows, NOTES)


def _row(speed: Speed, first: Speed) -> list[str]:
    waited = ", waited" if speed.device == "cuda" and not speed.queued else ""
    compiled = (", compiled" if speed.compile else "") + (", CUDA graphs" if speed.graph else "")
    return [
        speed.model.removeprefix("configs/").removesuffix(".py"),
        speed.step,
        "x".join(map(str, speed.shape)),
        str(speed.batch),
        speed.dtype,
        f"{speed.images_per_s:.3g}",
        f"{speed.slowest:.3g} to {speed.fastest:.3g}",
        f"{speed.images_per_s / first.images_per_s:.2f}",
        f"{speed.peak_memory_mb:.0f}",
        f"{speed.peak_memory_mb / first.peak_memory_mb:.2f}",
        "" if speed.launches is None else str(speed.launches),
        f"{speed.flops / 1e9:.2f}",
        f"{100 * speed.utilisation:.0f} %",
        f"{device(speed.hardware)}, {speed.threads} threads{compiled}{waited}",
    ]
