"""Standard errors over images for a run's metrics, from the data collected by the frameworks' metrics."""

import json
from pathlib import Path

import numpy as np
from mmdet.evaluation import CocoMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mixmae_bench.registry import HOOKS
from mixmae_bench.results.bootstrap import ap_error, miou_error, top1_error
from mixmae_bench.results.metrics import METRICS

PREDICTIONS = "predictions"
"""Prefix of the files in a run's folder with the last validation's detections in COCO format."""


@HOOKS.register_module()
class StderrHook(Hook):
    """Keeps the data for the standard errors of the last validation's metrics.

    For mIoU, the areas per class of every image; for AP, the detections, in files in the run's folder.
    """

    def __init__(self) -> None:
        self._areas: list[tuple] = []

    def before_val(self, runner: Runner) -> None:
        for metric in runner.val_evaluator.metrics:
            if isinstance(metric, IoUMetric):
                self._watch(metric)
            elif isinstance(metric, CocoMetric):
                metric.outfile_prefix = metric.outfile_prefix or str(Path(runner.work_dir) / PREDICTIONS)

    def stderr(self, runner: Runner, metrics: dict[str, float], images: int) -> dict[str, float]:
        """Return the standard error of every metric, in the metric's unit.

        Args:
            runner: Runner after its last validation.
            metrics: Values by the names of `results.metrics`.
            images: Number of images that they are computed on.
        """
        found = {}
        for name, value in metrics.items():
            if METRICS[name].stderr == "binomial":
                found[name] = top1_error(value, images)
        if "miou" in metrics:
            areas = [np.array([a.numpy() for a in image]) for image in self._areas]
            intersections, unions = np.stack(areas, axis=1)[:2]
            found["miou"] = miou_error(intersections, unions)
        for metric in runner.val_evaluator.metrics if "box_ap" in metrics else ():
            for name, kind in (("box_ap", "bbox"), ("mask_ap", "segm")):
                if name in metrics:
                    found[name] = ap_error(evaluate(metric, kind)) if metrics[name] else 0.0
        return {name: round(value, 4) for name, value in found.items()}

    def absent_classes(self, runner: Runner) -> list[str]:
        """Return the names of the classes that are left out of the mean in the last validation's AP or mIoU.

        For mIoU, classes in neither labels nor predictions (their IoU is 0 / 0); for AP, classes without an
        object.
        """
        names, absent = runner.val_evaluator.dataset_meta.get("classes") or (), set()
        if self._areas:
            unions = sum(image[1] for image in self._areas)
            absent |= {name for name, union in zip(names, unions.tolist(), strict=True) if not union}
        for metric in runner.val_evaluator.metrics:
            if isinstance(metric, CocoMetric) and metric._coco_api and metric.cat_ids:
                truth = metric._coco_api
                ids = truth.getAnnIds(imgIds=metric.img_ids, catIds=metric.cat_ids, iscrowd=0)
                found = {note["category_id"] for note in truth.loadAnns(ids)}
                absent |= {truth.cats[id_]["name"] for id_ in metric.cat_ids if id_ not in found}
        return [name for name in names if name in absent]

    def _watch(self, metric: IoUMetric) -> None:
        compute = type(metric).compute_metrics

        def compute_metrics(results: list) -> dict[str, float]:
            self._areas = results
            return compute(metric, results)

        metric.compute_metrics = compute_metrics


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
    matching = COCOeval(truth, truth.loadRes(found), kind)
    matching.params.catIds, matching.params.imgIds = metric.cat_ids, metric.img_ids
    matching.params.iouThrs = metric.iou_thrs
    matching.evaluate()
    return matching
