"""The table of a classifier on shifted, relabelled and corrupted images."""

from collections.abc import Sequence

from mixmae_bench.report.columns import heading
from mixmae_bench.report.table import Table
from mixmae_bench.results.robustness import RobustnessRecord
from mixmae_bench.results.significance import Measured

METRICS = ("top1", "top5", "mean_error", "mce_alexnet")
"""Metrics in the order of the columns."""

NOTES = [
    "± is the binomial standard error over images. Lower is better for mean error and mCE.",
    "top-1 on imagenet-real counts a prediction as correct if it is one of the labels of the image. "
    "Predictions on imagenet-a and imagenet-r are restricted to the 200 classes of the data set.",
    "On imagenet-c, top-1 errors of 15 corruptions and 5 severities: the mean error is their mean; mCE "
    "(AlexNet) is the mean over corruptions of the sum of errors divided by AlexNet's.",
]


def robustness_table(records: Sequence[RobustnessRecord]) -> Table:
    """Return a table with a row per data set.

    Args:
        records: Records of one classifier, at least one.
    """
    first = records[0]
    rows = [
        [own.dataset, f"{own.num_samples:,}", f"{own.classes:,}", *(_cell(own, name) for name in METRICS)]
        for own in records
    ]
    title = f"{first.backbone}, {first.checkpoint_source}, at {'x'.join(map(str, first.image_shape))} px, %"
    return Table(title, ["data set", "images", "classes", *map(heading, METRICS)], rows, NOTES)


def _cell(record: RobustnessRecord, metric: str) -> str:
    if metric not in record.metrics:
        return ""
    return str(Measured(record.metrics[metric], record.stderr.get(metric)))
