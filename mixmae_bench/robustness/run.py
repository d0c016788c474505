"""Evaluation of a classifier on all asked data sets, as records."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from numpy.typing import NDArray
from torch import nn

from mixmae_bench.datasets.catalog.imagenet_c import SEVERITIES
from mixmae_bench.datasets.identity import data_hash, file_hash
from mixmae_bench.datasets.lists import labels_of
from mixmae_bench.engine.config import backbone_name, content_hash
from mixmae_bench.results.bootstrap import top1_error
from mixmae_bench.results.record import append_record
from mixmae_bench.results.robustness import (
    CORRUPTED,
    RELABELLED,
    ROBUSTNESS_SCHEMA,
    RobustnessRecord,
    read_robustness,
)
from mixmae_bench.robustness.classifier import Classifier
from mixmae_bench.robustness.corruption_error import ALEXNET_ERRORS, mce_alexnet, mean_error
from mixmae_bench.robustness.measure import correct, predict
from mixmae_bench.robustness.sets import EvaluationSet, dataset_config
from mixmae_bench.system.environment import code_hash, code_version, hardware, packages

COMPUTED_BY = [f"mixmae_bench.robustness.{name}" for name in ("corruption_error", "measure", "run")]
"""Modules that determine the outcome, besides the sources that `code_hash` covers."""

Progress = Callable[[str, int, int], None]
"""Function of the name of a part, the number of its images that are done, and their total number."""


@dataclass(frozen=True)
class _Seen:
    """The predictions on one part of a data set.

    Attributes:
        top: Whether one of the first k + 1 predictions is right (N, 5).
        classes: Number of classes that predictions are restricted to.
        precision: Number format of the logits.
        shape: Height and width of the images.
    """

    top: NDArray
    classes: int
    precision: str
    shape: list[int]

    def accuracy(self, k: int) -> float:
        """Return the top-k accuracy in %."""
        return 100 * float(self.top[:, k - 1].mean())


def evaluate(
    classifier: Classifier,
    model: nn.Module,
    sets: Sequence[EvaluationSet],
    out: Path | None,
    progress: Progress,
) -> list[RobustnessRecord]:
    """Evaluate a classifier on all sets, and append the records to a file.

    A set with a record of the same key in the file is not evaluated again.

    Args:
        classifier: The classifier.
        model: Its model, with weights.
        sets: The sets.
        out: File of the records, or None.
        progress: See `Progress`.

    Raises:
        UserError: If an image is corrupt, or logits are NaN or infinite.
    """
    known = {record.key: record for record in read_robustness(out)[0]} if out else {}
    about = _about(classifier)
    records = []
    for own in sets:
        data = data_hash({"datasets": [layout for _, layout in own.parts]})
        key = _key(classifier, own, {**about, "data_hash": data})
        record = known.get(key)
        if record is None:
            with DefaultScope.overwrite_default_scope(classifier.scope):
                record = _measured(classifier, model, own, {"key": key, "data_hash": data, **about}, progress)
            if out:
                append_record(out, record)
        records.append(record)
    return records


def _about(classifier: Classifier) -> dict:
    """Return the fields of the record that are the same for all sets."""
    imports = (classifier.cfg.get("custom_imports") or {}).get("imports", [])
    return dict(
        backbone=backbone_name(classifier.cfg),
        config=classifier.name,
        config_hash=content_hash(classifier.cfg),
        checkpoint=file_hash(classifier.checkpoint),
        checkpoint_source=str(classifier.checkpoint),
        device=get_device(),
        threads=torch.get_num_threads(),
        code=code_version(),
        code_hash=code_hash([*imports, *COMPUTED_BY]),
        packages=packages(),
        hardware=hardware(),
    )


def _key(classifier: Classifier, own: EvaluationSet, about: dict) -> str:
    parts = {name: about[name] for name in ("checkpoint", "data_hash", "device", "code_hash")}
    parts |= dict(
        dataset=own.name, model=classifier.model, pipeline=classifier.pipeline, half=classifier.half
    )
    return content_hash(Config(parts))


def _measured(
    classifier: Classifier, model: nn.Module, own: EvaluationSet, about: dict, progress: Progress
) -> RobustnessRecord:
    started, clock = datetime.now(UTC), time.monotonic()
    seen = {}
    for part, layout in own.parts:
        name = own.name if len(own.parts) == 1 else f"{own.name} {part.name}"
        seen[part.name] = _see(classifier, model, layout, lambda *counts, name=name: progress(name, *counts))
    first = next(iter(seen.values()))
    return RobustnessRecord(
        schema=ROBUSTNESS_SCHEMA,
        dataset=own.name,
        **(_of_corruptions(seen) if own.name == CORRUPTED else _of_images(first, own.name != RELABELLED)),
        classes=first.classes,
        image_shape=first.shape,
        precision=first.precision,
        seconds=round(time.monotonic() - clock, 2),
        started=started.isoformat(timespec="seconds"),
        **about,
    )


def _see(
    classifier: Classifier, model: nn.Module, layout: dict, progress: Callable[[int, int], None]
) -> _Seen:
    """Return the predictions on the images of one data set, through the pipeline of validation."""
    loader = Runner.build_dataloader(
        {
            **classifier.cfg.val_dataloader.to_dict(),
            "dataset": dataset_config(layout, classifier.pipeline),
            "sampler": dict(type="DefaultSampler", shuffle=False),
            "drop_last": False,
            "persistent_workers": False,  # the loader is read once
        }
    )
    dataset = loader.dataset
    truth = [labels_of(dataset.get_data_info(number)) for number in range(len(dataset))]
    classes = sorted(dataset.label_of.values())
    best, precision, shape = predict(
        model, loader, classes, classifier.half, lambda done: progress(done, len(truth))
    )
    return _Seen(correct(best, truth), len(classes), precision, shape)


def _of_images(seen: _Seen, single_label: bool) -> dict:
    """Return fields of the record: top-1, and top-5 if every image has one label."""
    images = len(seen.top)
    tops = {f"top{k}": seen.accuracy(k) for k in ((1, 5) if single_label else (1,))}
    return dict(
        metrics={name: round(value, 4) for name, value in tops.items()},
        stderr={name: round(top1_error(value, images), 4) for name, value in tops.items()},
        num_samples=images,
    )


def _of_corruptions(seen: dict[str, _Seen]) -> dict:
    """Return fields of the record: errors of all corruptions, and their means over the benchmark's."""
    names = dict.fromkeys(name.partition("/")[0] for name in seen)
    errors = {name: [100 - seen[f"{name}/{n}"].accuracy(1) for n in SEVERITIES] for name in names}
    return dict(
        metrics={"mean_error": round(mean_error(errors), 4), "mce_alexnet": round(mce_alexnet(errors), 4)},
        errors={name: [round(error, 4) for error in own] for name, own in errors.items()},
        num_samples=sum(len(seen[f"{name}/{n}"].top) for name in ALEXNET_ERRORS for n in SEVERITIES),
    )
