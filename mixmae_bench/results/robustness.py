"""Records of classifiers on shifted, relabelled and corrupted images. Does not import torch."""

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass

from mixmae_bench.results.record import read_lines
from mixmae_bench.system.typed import STRICT

ROBUSTNESS_SCHEMA = 1
"""Version of the fields of `RobustnessRecord`."""


RELABELLED, CORRUPTED = "imagenet-real", "imagenet-c"

SETS = ("imagenet-v2", RELABELLED, "imagenet-a", "imagenet-r", "imagenet-sketch", CORRUPTED)
"""Names of the data sets in the catalog."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RobustnessRecord:
    """The outcome of a classifier on one data set, one JSON line of `mixmae-bench evaluate --out`.

    Attributes of the same name mean the same as in `mixmae_bench.results.record.Record`.

    Attributes:
        schema: Version of these fields.
        key: Hash of everything that affects the outcome.
        dataset: Name of the data set in the catalog, such as 'imagenet-a'.
        metrics: Values by name: 'top1', 'top5', and on ImageNet-C 'mean_error' and 'mce_alexnet'.
        stderr: Binomial standard errors of 'top1' and 'top5' over images.
        errors: Top-1 errors of the five severities by corruption, in %, those outside of the means included;
            empty for other data sets.
        num_samples: Number of images that the metrics are computed on, corrupted ones for each corruption and
            severity.
        classes: Number of classes that the predictions are restricted to.
        backbone: Type and architecture of the backbone.
        config: Config or folder of a run, as given.
        config_hash: See `Record`.
        checkpoint: SHA-256 (16 digits) of the file with the weights of the whole model.
        checkpoint_source: The file.
        data_hash: Hash of the data: of the list of labels, or of the names of all files.
        image_shape: Height and width of the images after the pipeline.
        precision: Number format of the logits.
        device: 'cpu' or 'cuda'.
        seconds: Wall time.
        threads: See `Record`.
        started: See `Record`.
        code: See `Record`.
        code_hash: Hash of the sources that affect the outcome.
        packages: See `Record`.
        hardware: See `Record`.
    """

    schema: int
    key: str
    dataset: str
    metrics: dict[str, float]
    stderr: dict[str, float] = field(default_factory=dict)
    errors: dict[str, list[float]] = field(default_factory=dict)
    num_samples: int
    classes: int
    backbone: str
    config: str
    config_hash: str
    checkpoint: str
    checkpoint_source: str
    data_hash: str
    image_shape: list[int]
    precision: str
    device: str
    seconds: float
    threads: int
    started: str
    code: str
    code_hash: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]


def read_robustness(path: Path) -> tuple[list[RobustnessRecord], list[str]]:
    """Read all records of a file; see `read_lines`."""
    return read_lines(path, RobustnessRecord, ROBUSTNESS_SCHEMA)


def of_same_weights(records: Iterable[RobustnessRecord], like: RobustnessRecord) -> list[RobustnessRecord]:
    """Return the last record of every data set with the config and the checkpoint of a record."""
    same = (r for r in records if (r.checkpoint, r.config_hash) == (like.checkpoint, like.config_hash))
    return list({record.dataset: record for record in same}.values())
