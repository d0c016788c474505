"""Recorded parameters and FLOPs: `mixmae-bench flops --record` writes, the tables read. Needs no torch."""

from dataclasses import dataclass

SCHEMA = 1
"""Version of the fields of `Count`."""


@dataclass(frozen=True)
class Count:
    """What one model costs, one JSON line.

    Attributes:
        schema: Version of these fields.
        model: Config, timm:NAME or mmpretrain:NAME, as given on the command line.
        shape: Height and width of the image.
        what: What the pass covers beyond that, such as 'pretraining, decoder included'.
        params: Parameters.
        trainable: Those of them that are trained.
        flops: FLOPs of a forward pass, per image (see `mixmae_bench.cost.flops`).
        code: See `mixmae_bench.record.Record`, as the next.
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
