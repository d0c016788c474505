"""Speed of training on a GPU, from the records of `mixmae-bench speed`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mixmae_bench.errors import UserError
from mixmae_bench.results.measurements import Speed, read_speeds
from mixmae_bench.system.shipped import shipped

ASSUMED_GPU = "H100"
PEAK_FLOPS_PER_S = 989e12 / 2
"""An H100's dense bfloat16 peak (a multiply-add counted twice)."""

UTILISATION = 0.15
"""Assumed if no record of the GPU exists."""


@dataclass(frozen=True)
class GpuSpeed:
    """Training speed of one GPU.

    Attributes:
        gpu: Name of the GPU.
        steps: Newest record of a training step by the name of its config, in the format that is trained in.
        flops_per_s: FLOP/s for configs without a record.
        basis: Where `flops_per_s` comes from.
    """

    gpu: str
    steps: dict[str, Speed]
    flops_per_s: float
    basis: str

    def step(self, config: Path) -> Speed | None:
        """Return the record of a config's training step, or None."""
        return self.steps.get(config.stem)


def gpu_speed(gpu: str | None = None, flops_per_s: float | None = None) -> GpuSpeed:
    """Return the speed of the GPU with a name that contains `gpu` (default: of an H100), or a given speed.

    Raises:
        UserError: If `gpu` is given and no record is of such a GPU.
    """
    if flops_per_s:
        return GpuSpeed(gpu or "a GPU", {}, flops_per_s, "as given")
    speeds, _ = read_speeds(shipped("results") / "measured")
    own = [s for s in speeds if s.step == "training" and _matches(s, gpu or ASSUMED_GPU)]
    if gpu and not own:
        known = sorted({str(s.hardware["gpu"]) for s in speeds if s.hardware["gpu"]})
        raise UserError(
            f"--gpu {gpu}: no speed was recorded on such a GPU; known: {', '.join(known) or 'none'}; measure "
            "it with benchmarks/gpu.sh, or give --flops-per-s"
        )
    return of_records(own, gpu or ASSUMED_GPU)


def of_records(speeds: Iterable[Speed], gpu: str) -> GpuSpeed:
    """Return the speed of a GPU from records of training steps on it."""
    steps: dict[str, Speed] = {}
    for speed in sorted(speeds, key=lambda speed: speed.started):
        if speed.dtype == "bfloat16" and not (speed.compile or speed.graph) and ":" not in speed.model:
            steps[Path(speed.model).stem] = speed
    if not steps:
        return GpuSpeed(
            gpu, {}, PEAK_FLOPS_PER_S * UTILISATION, f"an H100's peak at an assumed {UTILISATION:.0%}"
        )
    rates = [3 * speed.flops * speed.images_per_s for speed in steps.values()]
    return GpuSpeed(
        str(next(iter(steps.values())).hardware["gpu"]),
        steps,
        median(rates),
        f"median of {len(rates)} records",
    )


def _matches(speed: Speed, gpu: str) -> bool:
    return gpu.lower() in str(speed.hardware["gpu"] or "").lower()
