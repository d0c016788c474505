"""Records of probes of frozen backbones. Does not import torch."""

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass

from mixmae_bench.results.record import read_lines
from mixmae_bench.system.typed import STRICT

PROBE_SCHEMA = 1
"""Version of the fields of `ProbeRecord`."""

PROBES = {
    "knn": "k nearest neighbours by cosine similarity, weighted as in DINO; pooled features",
    "logistic-1shot": "logistic regression on 1 image per class; pooled features",
    "logistic-2shot": "logistic regression on 2 images per class; pooled features",
    "logistic-5shot": "logistic regression on 5 images per class; pooled features",
    "logistic-10shot": "logistic regression on 10 images per class; pooled features",
    "logistic": "logistic regression on all training images; pooled features",
    "linear": "batch norm without affine parameters and a linear layer, by SGD; pooled features",
    "multi-head": "attention of one learnt query, then as linear, by AdamW; tokens",
    "efficient": "efficient probing: attention of several learnt queries, then as linear, by AdamW; tokens",
}
"""Meaning of every probe by name, in the order of tables."""

FILE = "probes.jsonl"
"""File of the probes of a suite, beside its records."""

ALL, LAST = "all", "last"
"""Names for all stages together, and for the last stage."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProbeRecord:
    """The outcome of one probe with one seed, one JSON line of `mixmae-bench probe --out`.

    Attributes of the same name mean the same as in `mixmae_bench.results.record.Record`.

    Attributes:
        schema: Version of these fields.
        key: Hash of everything that affects the outcome.
        probe: Name in `PROBES`.
        stage: Number of the stage of the features, from 1, or 'all'.
        stages: Number of stages of the backbone.
        seed: Seed of the split for hyperparameters, of the shots, of the heads and, without a checkpoint, of
            the backbone's weights.
        metrics: Values by name, on the validation set, which nothing is chosen on.
        stderr: Standard errors of the metrics over images.
        num_samples: Number of images that the metrics are computed on.
        train_samples: Number of images that the final classifier is fitted on.
        classes: Number of classes with training images.
        shots: Images per class, or None for all.
        setting: Name of the hyperparameter: 'k', 'C' or 'lr'.
        chosen: Its value.
        tuning: Pairs of every value of the grid and its top-1 on the split for hyperparameters, in %.
        tuning_share: Share of the training images in this split.
        epochs: Epochs of the head, or None without a trained head.
        probe_params: Parameters of the head, or None without a trained head.
        probe_flops: FLOPs of the head per image, or None without a trained head.
        channels: Channels of the features.
        tokens: Tokens per image that the probe reads; 1 for pooled features.
        backbone: Type and architecture of the backbone.
        config: Config that names backbone and data, as given.
        config_hash: See `Record`.
        dataset: Name of the data set, or its folder.
        data_hash: Hash of the training data.
        val_data_hash: Hash of the validation data.
        initialisation: 'random' or 'checkpoint'.
        checkpoint: SHA-256 (16 digits) of the checkpoint file, or None.
        checkpoint_source: The checkpoint as given, or None.
        checkpoint_filled: Percentage of the backbone that the checkpoint filled, or None.
        weights: SHA-256 (16 digits) of the weights of the backbone.
        suite: Name of the suite that the weights are from, or None outside a suite.
        suite_version: Its version.
        method: Its method.
        train_features: Key of the cached features of the training images.
        val_features: Key of the cached features of the validation images.
        image_shape: Height and width of the images.
        device: 'cpu' or 'cuda'.
        seconds: Wall time of the probe, without the features.
        threads: See `Record`.
        started: See `Record`.
        code: See `Record`.
        code_hash: Hash of the sources that affect the outcome.
        packages: See `Record`.
        hardware: See `Record`.
    """

    schema: int
    key: str
    probe: str
    stage: str
    stages: int
    seed: int
    metrics: dict[str, float]
    stderr: dict[str, float]
    num_samples: int
    train_samples: int
    classes: int
    shots: int | None = None
    setting: str
    chosen: float
    tuning: list[list[float]] = field(default_factory=list)
    tuning_share: float
    epochs: int | None = None
    probe_params: int | None = None
    probe_flops: int | None = None
    channels: int
    tokens: int
    backbone: str
    config: str
    config_hash: str
    dataset: str
    data_hash: str
    val_data_hash: str
    initialisation: str
    checkpoint: str | None = None
    checkpoint_source: str | None = None
    checkpoint_filled: float | None = None
    weights: str
    train_features: str
    val_features: str
    image_shape: list[int]
    device: str
    seconds: float
    threads: int
    started: str
    code: str
    code_hash: str
    packages: dict[str, str]
    hardware: dict[str, str | int | None]
    suite: str | None = None
    suite_version: int | None = None
    method: str | None = None

    @property
    def owner(self) -> tuple[str | None, int | None, str | None]:
        """Suite, its version and method, each None outside a suite."""
        return self.suite, self.suite_version, self.method


def read_probes(path: Path) -> tuple[list[ProbeRecord], list[str]]:
    """Read all records of a file; see `read_lines`."""
    return read_lines(path, ProbeRecord, PROBE_SCHEMA)


def probes_of_suite(folders: Iterable[Path], suite: str, version: int) -> list[ProbeRecord]:
    """Return the probes of a suite's version in the files `FILE` of some folders."""
    records = [record for folder in folders for record in read_probes(folder / FILE)[0]]
    return [record for record in records if record.owner[:2] == (suite, version)]


def stage_names(records: Iterable[ProbeRecord]) -> list[str]:
    """Return the stages of some records in the order of tables: by number, then all together."""
    return sorted({record.stage for record in records}, key=lambda stage: (stage == ALL, stage.zfill(3)))
