"""Check that evaluators use the annotations of the images that their loader yields."""

import os
from collections.abc import Mapping, Sequence

from mmengine.logging import print_log

from mixmae_bench.datasets.coco import CocoFile, check_coco, same_truth
from mixmae_bench.datasets.leaves import dicts, type_name
from mixmae_bench.errors import UserError

SUBSET_METRIC = "mixmae_bench.CocoSubsetMetric"
"""CocoMetric on the evaluated images only (see `datasets.coco_subset`)."""

METRICS = ("CocoMetric", "FasterCocoMetric", "CocoSubsetMetric")


def coco_metrics(cfg: Mapping, loader: str) -> list[Mapping]:
    """Return the configs of the CocoMetrics of a loader's evaluator."""
    return [part for part in dicts(cfg.get(evaluator_of(loader))) if type_name(part) in METRICS]


def evaluator_of(loader: str) -> str:
    """Return the key of a loader's evaluator, such as 'val_evaluator'."""
    return loader.replace("dataloader", "evaluator")


def check_coco_metric(
    metric: Mapping, where: str, files: Sequence[str], loaded: frozenset, pipeline: Sequence
) -> CocoFile | None:
    """Check that a CocoMetric evaluates against the annotations of its loader.

    Args:
        metric: Config of the metric.
        where: Description of the metric, for messages.
        files: Annotation files of the loader's data sets.
        loaded: IDs of the images in these data sets.
        pipeline: Pipeline of the first data set.

    Returns:
        The annotation file of the metric, or None if it is not read here.

    Raises:
        UserError: If the file is missing, cannot be evaluated, or is not the loader's.
    """
    truth = metric.get("ann_file")
    if truth is None:
        if any("instances" in (step.get("meta_keys") or ()) for step in dicts(pipeline)):
            return None  # mmdet writes a file from the loader's annotations
        raise UserError(f"data: {where} has no ann_file; name the file of the loader, {', '.join(files)}")
    if "://" in truth:
        return None
    if not os.path.isfile(truth):
        raise UserError(
            f"data: {truth} (ann_file of {where}) does not exist; name the file of the loader, "
            f"{', '.join(files)}"
        )
    if metric.get("format_only"):
        return None
    metrics = metric.get("metric", "bbox")
    masks = "segm" in ([metrics] if isinstance(metrics, str) else metrics)
    if len(files) == 1 and not same_truth(truth, files[0]):
        raise UserError(
            f"data: {truth} (ann_file of {where}) differs from the file of the loader, {files[0]}; "
            "name the same file in both"
        )
    content = check_coco(truth, masks, evaluated=True)
    if unknown := loaded - content.images:
        raise UserError(
            f"data: image {min(unknown, key=str)} is loaded, but is not in {truth} (ann_file of {where}); "
            "name the file of the loader"
        )
    if type_name(metric) != "CocoSubsetMetric" and (missing := len(content.images - loaded)):
        print_log(
            f"{where}: {missing} of the {len(content.images)} images of {truth} are not loaded (indices, "
            "filter_cfg); AP counts their objects as missed"
        )
    return content
