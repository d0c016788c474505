"""Records of what models and their images cost: FLOPs and speed, as the tables read them. Needs no torch."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mixmae_bench.system.typed import STRICT

COUNT_SCHEMA = 1
"""Version of the fields of `Count`."""

SPEED_SCHEMA = 1
"""Version of the fields of `Speed`."""


@dataclass(frozen=True, config=STRICT)
class Count:
    """Parameters and FLOPs of one model, one JSON line of `mixmae-bench flops --record`.

    Attributes:
        schema: Version of these fields.
        model: Config, timm:NAME or mmpretrain:NAME, as given on the command line.
        shape: Height and width of the image.
        what: What the pass covers beyond that, such as 'pretraining, decoder included'.
        params: Parameters.
        trainable: Those of them that are trained.
        flops: FLOPs of a forward pass, per image (see `mixmae_bench.cost.flops`).
        code: See `mixmae_bench.results.record.Record`, as the next.
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
    """What one model reached, one JSON line of `mixmae-bench speed --record`.

    Attributes:
        schema: Version of these fields.
        model: Config or name.
        step: 'training' (loss, gradients, fused AdamW) or 'inference'.
        dtype: Number format of the forward pass; weights are float32.
        batch: Images per step.
        shape: Height and width of the images.
        compile: Whether torch.compile was used.
        device: 'cpu' or 'cuda'.
        threads: CPU threads.
        steps: Timed steps, after warm-up.
        images_per_s: By the median step; `slowest` and `fastest` by those.
        slowest: See there.
        fastest: See there.
        peak_memory_mb: What model, optimiser and step took at most, frameworks not included.
        flops: Of a forward pass, per image (see `mixmae_bench.cost.flops`).
        matmul_flops_per_s: What a large matrix product reaches here in this format.
        started: When, ISO 8601 in UTC.
        code: See `mixmae_bench.results.record.Record`, as the next two.
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

    @property
    def utilisation(self) -> float:
        """FLOPs per second as a share of a large matrix product's; training is three forward passes."""
        passes = 3 if self.step == "training" else 1
        return passes * self.flops * self.images_per_s / self.matmul_flops_per_s
