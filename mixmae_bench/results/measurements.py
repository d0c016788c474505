"""Records of FLOPs and speed. Does not import torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mixmae_bench.results.record import read_lines
from mixmae_bench.system.typed import STRICT

COUNT_SCHEMA = 1
"""Version of the fields of `Count`."""

SPEED_SCHEMA = 4
"""Version of the fields of `Speed`."""


@dataclass(frozen=True, config=STRICT)
class Count:
    """Parameters and FLOPs of one model, one JSON line of `mixmae-bench flops --record`.

    Attributes:
        schema: Version of these fields.
        model: Config, timm:NAME or mmpretrain:NAME, as given on the command line.
        shape: Height and width of the image.
        what: Description of the forward pass, such as 'pretraining, decoder included'.
        params: Number of parameters.
        trainable: Number of trainable parameters.
        flops: FLOPs of a forward pass, per image (see `mixmae_bench.cost.flops`).
        code: See `mixmae_bench.results.record.Record`.
        packages: See there.
    """

    schema: int
    model: str
    shape: list[int]
    what: str
    params: int
    trainable: int
    flops: int
    code: str
    packages: dict[str, str]


@dataclass(frozen=True, config=STRICT)
class Speed:
    """Speed and memory of one model, one JSON line of `mixmae-bench speed --record`.

    Attributes:
        schema: Version of these fields.
        model: Config, timm:NAME or mmpretrain:NAME.
        step: 'training' (loss, gradients, fused AdamW) or 'inference'.
        dtype: Number format of the forward pass; weights are float32.
        batch: Images per step.
        shape: Height and width of the images.
        compile: Whether the blocks of the model were compiled with torch.compile.
        graph: Whether the loss was computed with CUDA graphs.
        device: 'cpu' or 'cuda'.
        threads: CPU threads.
        steps: Timed steps, after warm-up.
        images_per_s: Images per second of the median step.
        slowest: Images per second of the slowest step.
        fastest: Images per second of the fastest step.
        peak_memory_mb: Peak memory of model, optimiser and step, without the frameworks.
        flops: FLOPs of a forward pass, per image (see `mixmae_bench.cost.flops`).
        matmul_flops_per_s: FLOP/s of a large matrix product on this device in this number format.
        launches: Kernel launches of a step on a GPU; None on a CPU or if not recorded.
        waits: Times that a step waits for the GPU; None on a CPU or if not recorded.
        queued: Whether the host queued steps ahead of the GPU, as in training. A step then lasts from the end
            of the step before to its own. If not, the host waited for the GPU after every step.
        started: Start time, ISO 8601 in UTC.
        code: See `mixmae_bench.results.record.Record`.
        packages: See there.
        hardware: See there.
    """

    schema: int
    model: str
    step: str
    dtype: str
    batch: int
    shape: Annotated[tuple[int, int], Field(strict=False)]  # a list in JSON
    compile: bool
    device: str
    threads: int
    steps: int
    images_per_s: float
    slowest: float
    fastest: float
    peak_memory_mb: float
    flops: int
    matmul_flops_per_s: float
    started: str
    code: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]
    launches: int | None = None
    waits: int | None = None
    graph: bool = False
    queued: bool = False

    @property
    def utilisation(self) -> float:
        """FLOP/s as a fraction of a large matrix product's; a training step is three forward passes."""
        passes = 3 if self.step == "training" else 1
        return passes * self.flops * self.images_per_s / self.matmul_flops_per_s


def read_speeds(measured: Path) -> tuple[list[Speed], list[str]]:
    """Read all records of speed under results/measured; see `read_lines`."""
    speeds, complaints = [], []
    for path in sorted(measured.glob("speed/*/*.jsonl")):
        own, wrong = read_lines(path, Speed, SPEED_SCHEMA)
        speeds += own
        complaints += wrong
    return speeds, complaints
