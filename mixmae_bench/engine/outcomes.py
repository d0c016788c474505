"""Per-image outcomes of a run's last validation, from the data collected by the frameworks' metrics."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.evaluation import CocoMetric
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy
from mmseg.evaluation import IoUMetric
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mixmae_bench.registry import HOOKS
from mixmae_bench.results.bootstrap import spread, top1_error
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outcomes import (
    MAX_DETECTIONS,
    Classified,
    Detected,
    Outcomes,
    Part,
    Segmented,
    make_outcomes,
)

PREDICTIONS = "predictions"
"""Prefix of the files in a run's folder with the last validation's detections in COCO format."""

SMALLEST_SCORE = 2.0**-149
"""Smallest positive number of float32; a score of 0 counts as this much in a margin."""


class ImageMetric(BaseMetric):
    """Keeps the name of every image, and the confusion counts of segmentation maps.

    mmengine collects the results of all processes in the same way for all metrics, without the images that
    pad the batches, so they are in the order of the other metrics' results.

    Args:
        segmentation: Metric of the segmentation maps, or None without maps.
    """

    default_prefix = "images"

    def __init__(self, segmentation: IoUMetric | None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.segmentation = segmentation
        self.names: list[str] = []
        self.confusions: list[tuple[NDArray, NDArray]] = []

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            name = str(sample.get("img_path") or sample.get("sample_idx", ""))
            self.results.append((name, self._confusion(sample) if self.segmentation else None))

    def compute_metrics(self, results: list) -> dict[str, float]:
        names = [name for name, _ in results]
        parent = os.path.commonpath([os.path.dirname(name) for name in names])
        self.names = [os.path.relpath(name, parent) if parent else name for name in names]
        self.confusions = [confusion for _, confusion in results]
        return {}

    def _confusion(self, sample: dict) -> tuple[NDArray, NDArray]:
        """Return the nonzero cells of (label, prediction), numbered row by row, and their pixels."""
        classes = len(self.dataset_meta["classes"])
        prediction = sample["pred_sem_seg"]["data"].squeeze()
        truth = sample["gt_sem_seg"]["data"].squeeze().to(prediction)
        known = truth != self.segmentation.ignore_index
        cells = truth[known].clamp(max=classes) * classes + prediction[known]
        pixels = torch.bincount(cells, minlength=(classes + 1) * classes).cpu().numpy()
        nonzero = np.flatnonzero(pixels)
        return nonzero, pixels[nonzero]


@HOOKS.register_module()
class OutcomesHook(Hook):
    """Keeps the per-image outcomes of the last validation.

    For top-1, the scores of every image; for AP, the detections, in files in the run's folder; for mIoU, the
    confusion counts of every image.
    """

    def __init__(self) -> None:
        self._scores: list[dict] = []
        self._images: ImageMetric | None = None

    def before_val(self, runner: Runner) -> None:
        metrics = runner.val_evaluator.metrics
        for metric in metrics:
            if isinstance(metric, Accuracy):
                self._watch(metric)
            elif isinstance(metric, CocoMetric):
                metric.outfile_prefix = metric.outfile_prefix or str(Path(runner.work_dir) / PREDICTIONS)
        watched = [metric for metric in metrics if isinstance(metric, Accuracy | IoUMetric)]
        if watched and self._images is None:
            segmentation = next((metric for metric in watched if isinstance(metric, IoUMetric)), None)
            self._images = ImageMetric(segmentation, collect_device=watched[0].collect_device)
            self._images.dataset_meta = runner.val_evaluator.dataset_meta
            metrics.append(self._images)

    def outcomes(self, runner: Runner, metrics: dict[str, float]) -> Outcomes | None:
        """Return the outcomes of the last validation; on rank 0 only.

        Args:
            runner: Runner after its last validation.
            metrics: Values by the names of `results.metrics`.

        Returns:
            The outcomes, or None if there are none for any of the metrics.
        """
        names = {METRICS[name].framework_key: name for name in metrics}
        images: Sequence[str] = self._images.names if self._images else ()
        parts: dict[str, Part] = {}
        for metric in runner.val_evaluator.metrics:
            if isinstance(metric, Accuracy) and f"{metric.prefix}/top1" in names:
                parts[names[f"{metric.prefix}/top1"]] = classified(self._scores, metric)
            elif isinstance(metric, IoUMetric) and "mIoU" in names:
                parts[names["mIoU"]] = segmented(self._images.confusions, metric)
            elif isinstance(metric, CocoMetric):
                kinds = [kind for kind in metric.metrics if f"{metric.prefix}/{kind}_mAP" in names]
                for kind in kinds:
                    parts[names[f"{metric.prefix}/{kind}_mAP"]] = detected(evaluate(metric, kind))
                if kinds:
                    images = [str(metric._coco_api.imgs[id_]["file_name"]) for id_ in metric.img_ids]
        return make_outcomes(images, parts) if parts else None

    def _watch(self, metric: Accuracy) -> None:
        compute = type(metric).compute_metrics

        def compute_metrics(results: list) -> dict[str, float]:
            self._scores = results
            return compute(metric, results)

        metric.compute_metrics = compute_metrics


def stderr(metrics: dict[str, float], images: int, outcomes: Outcomes | None) -> dict[str, float]:
    """Return the standard errors of metrics over the evaluated images, in the metrics' units.

    Args:
        metrics: Values by the names of `results.metrics`.
        images: Number of images that they are computed on.
        outcomes: Outcomes of the images.
    """
    found = {}
    for name, value in metrics.items():
        if METRICS[name].stderr == "binomial":
            found[name] = top1_error(value, images)
        elif outcomes and name in outcomes.resampled:
            found[name] = spread(outcomes.resampled[name])
    return {name: round(value, 4) for name, value in found.items()}


def classified(results: Sequence[dict], metric: Accuracy) -> Classified:
    """Return the outcomes of a classifier from the results that an `Accuracy` collected."""
    target = torch.cat([result["gt_label"] for result in results]).long()
    if "pred_score" not in results[0]:
        label = torch.cat([result["pred_label"] for result in results])
        return Classified((label == target).numpy(), np.full(len(target), np.nan, np.float32))
    scores = torch.stack([result["pred_score"] for result in results]).float()
    # The same call as the metric's, which decides between classes of the same score.
    best, labels = scores.topk(max(metric.topk), dim=1)
    correct = labels[:, 0] == target
    if metric.thrs[0] is not None:
        correct &= best[:, 0] > metric.thrs[0]
    # Scores are a softmax, so their logarithms differ as the logits do.
    logits = scores.double().clamp(min=SMALLEST_SCORE).log()
    true = logits.gather(1, target[:, None])[:, 0]
    other = logits.scatter(1, target[:, None], -np.inf).max(1).values
    return Classified(correct.numpy(), (true - other).float().numpy())


def segmented(confusions: Sequence[tuple[NDArray, NDArray]], metric: IoUMetric) -> Segmented:
    """Return the outcomes of a segmentation from the confusion counts of its images."""
    classes = metric.dataset_meta["classes"]
    cells = np.concatenate([cells for cells, _ in confusions])
    return Segmented(
        image=np.repeat(np.arange(len(confusions)), [len(own) for own, _ in confusions]).astype(np.int32),
        truth=(cells // len(classes)).astype(np.int16),
        prediction=(cells % len(classes)).astype(np.int16),
        pixels=np.concatenate([pixels for _, pixels in confusions]).astype(np.int32),
        images=np.array(len(confusions), np.int32),
        classes=np.array(classes, np.str_),
    )


def detected(evaluation: COCOeval) -> Detected:
    """Return the outcomes of a detector from a COCO evaluation, after its `evaluate()`."""
    parameters = evaluation.params
    images, areas, thresholds = (len(p) for p in (parameters.imgIds, parameters.areaRng, parameters.iouThrs))
    objects = np.zeros((images, len(parameters.catIds)), np.uint16)
    empty = [np.zeros(0)] * 3 + [np.zeros((0, thresholds), bool)] * 2
    rows = [empty]
    for k in range(len(parameters.catIds)):
        own = evaluation.evalImgs[k * areas * images :][:images]  # the first area is 'all'
        found = []
        for i, match in enumerate(own):
            if match is not None:
                objects[i, k] = np.sum(match["gtIgnore"] == 0)
                found.append(_rows(i, k, match))
        if found:
            joined = [np.concatenate(column) for column in zip(*found, strict=True)]
            order = np.argsort(-joined[2], kind="mergesort")  # stable, as in COCOeval
            rows.append([column[order] for column in joined])
    image, category, score, hit, ignored = (np.concatenate(column) for column in zip(*rows, strict=True))
    classes = [evaluation.cocoGt.cats[id_]["name"] for id_ in parameters.catIds]
    return Detected(
        image.astype(np.int32),
        category.astype(np.int16),
        score.astype(np.float32),
        hit,
        ignored,
        objects,
        np.array(classes, np.str_),
    )


def _rows(image: int, category: int, match: dict) -> list[NDArray]:
    """Return the columns of `Detected` for the detections of a class in an image."""
    scores = np.array(match["dtScores"][:MAX_DETECTIONS], np.float64)
    hit, ignored = (np.asarray(match[name])[:, :MAX_DETECTIONS].T > 0 for name in ("dtMatches", "dtIgnore"))
    return [np.full(len(scores), image), np.full(len(scores), category), scores, hit, ignored]


def evaluate(metric: CocoMetric, kind: str) -> COCOeval:
    """Match the detections written by a `CocoMetric` with its annotations.

    Args:
        metric: The metric after its evaluation.
        kind: 'bbox' or 'segm'.
    """
    truth: COCO = metric._coco_api
    found = json.loads(Path(f"{metric.outfile_prefix}.{kind}.json").read_text(encoding="utf-8"))
    if kind == "segm":
        for detection in found:
            del detection["bbox"]  # else pycocotools computes areas from boxes
    if found:
        detections = truth.loadRes(found)
    else:  # loadRes needs one
        detections = COCO()
        detections.dataset = {**truth.dataset, "annotations": []}
        detections.createIndex()
    matching = COCOeval(truth, detections, kind)
    matching.params.catIds, matching.params.imgIds = metric.cat_ids, metric.img_ids
    matching.params.iouThrs = metric.iou_thrs
    matching.evaluate()
    return matching
