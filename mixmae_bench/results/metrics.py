"""The catalog of metrics: their names here and in the frameworks, units and standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Stderr = Literal["binomial", "bootstrap"]


@dataclass(frozen=True)
class Metric:
    """A metric of records and tables.

    Attributes:
        name: Name in records, such as 'top1'.
        title: Name in tables, such as 'top-1'.
        meaning: Description with the unit.
        framework_key: Name in the framework's evaluator, such as 'accuracy/top1', or None if no evaluator
            measures it.
        scale: Factor from the framework's value to the unit in `meaning`.
        higher_is_better: Whether a higher value is better.
        stderr: Method of its standard error over images: 'binomial' for a percentage of images, 'bootstrap'
            for AP and mIoU (see `mixmae_bench.results.bootstrap`), None without one.
        of_transfer: Whether it is a column of the tables of suites.
    """

    name: str
    title: str
    meaning: str
    framework_key: str | None = None
    scale: float = 1.0
    higher_is_better: bool = True
    stderr: Stderr | None = None
    of_transfer: bool = True


METRICS: dict[str, Metric] = {}
"""Every metric by name, in the order of tables."""


def add_metric(metric: Metric) -> Metric:
    """Add a metric to the catalog; a module in a config's `custom_imports` may call this.

    Raises:
        ValueError: If another metric has the name or the framework key.
    """
    keys = {known.framework_key for known in METRICS.values()} - {None}
    if metric.name in METRICS or metric.framework_key in keys:
        raise ValueError(f"metric '{metric.name}' ({metric.framework_key}): there is one of that name")
    METRICS[metric.name] = metric
    return metric


def title(name: str) -> str:
    """Return the title of a metric, or its name if it is not in the catalog."""
    return METRICS[name].title if name in METRICS else name


def metrics_text(metrics: dict[str, float], absent_classes: Sequence[str] = ()) -> str:
    """Return the metrics of one record as one line, with the classes that are left out of them."""
    values = ", ".join(f"{title(name)} {value:.2f}" for name, value in metrics.items())
    return f"{values} (no validation image has {', '.join(absent_classes)})" if absent_classes else values


add_metric(
    Metric("loss", "loss", "mean training loss of the last epoch", higher_is_better=False, of_transfer=False)
)
add_metric(Metric("top1", "top-1", "top-1 accuracy, %", "accuracy/top1", stderr="binomial"))
add_metric(
    Metric("box_ap", "box AP", "COCO box AP (IoU 0.50:0.95), %", "coco/bbox_mAP", 100, stderr="bootstrap")
)
add_metric(
    Metric("mask_ap", "mask AP", "COCO mask AP (IoU 0.50:0.95), %", "coco/segm_mAP", 100, stderr="bootstrap")
)
add_metric(Metric("miou", "mIoU", "mean IoU over classes, %", "mIoU", stderr="bootstrap"))
add_metric(
    Metric(
        "knn_top1",
        "kNN top-1",
        "top-1 accuracy of the encoder's nearest neighbours, %",
        "knn/top1",
        stderr="binomial",
        of_transfer=False,
    )
)
add_metric(Metric("top5", "top-5", "top-5 accuracy, %", stderr="binomial", of_transfer=False))
add_metric(
    Metric(
        "mean_error",
        "mean error",
        "mean top-1 error over the 15 corruptions and 5 severities of ImageNet-C, %",
        higher_is_better=False,
        of_transfer=False,
    )
)
add_metric(
    Metric(
        "mce_alexnet",
        "mCE (AlexNet)",
        "mean corruption error on ImageNet-C, with the errors of each corruption divided by AlexNet's, %",
        higher_is_better=False,
        of_transfer=False,
    )
)
