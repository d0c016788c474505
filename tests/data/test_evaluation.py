"""COCO's AP and ADE20K's mIoU as reported by the frameworks, against pycocotools and a confusion matrix."""

import contextlib
import copy
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import Accuracy
from mmseg.datasets import ADE20KDataset
from mmseg.evaluation import IoUMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mixmae_bench.datasets.catalog import make_tiny
from mixmae_bench.datasets.catalog.coco import CATEGORY_IDS
from mixmae_bench.datasets.images import LoadImage
from mixmae_bench.datasets.seg_maps import LoadSegMap
from mixmae_bench.engine.outcomes import OutcomesHook, stderr
from mixmae_bench.results.outcomes import check_values

NAMES = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    make_tiny("coco", root)
    return root


def predictions(dataset: CocoDataset, rng: np.random.Generator) -> list[dict]:
    """Return per image: each object moved by up to 2 px, some of another class, and three at random."""
    samples = []
    for item in dataset:
        boxes, labels = [], []
        for instance in item["instances"]:
            boxes.append(np.array(instance["bbox"]) + rng.integers(-2, 3, 4))
            labels.append(instance["bbox_label"] if rng.random() < 0.75 else rng.integers(80))
        for _ in range(3):
            x, y = rng.integers(0, 20, 2)
            boxes.append(np.array([x, y, x + 15, y + 25]))
            labels.append(rng.integers(80))
        masks = np.zeros((len(boxes), item["height"], item["width"]), bool)
        for mask, (left, top, right, bottom) in zip(masks, np.maximum(boxes, 0), strict=True):
            mask[top:bottom, left:right] = True
        shown = dict(
            bboxes=torch.tensor(np.array(boxes), dtype=torch.float32),
            labels=torch.tensor(np.array(labels)),
            scores=torch.tensor(rng.random(len(boxes))),
            masks=torch.tensor(masks),
        )
        shape = (item["height"], item["width"])
        samples.append(dict(img_id=item["img_id"], ori_shape=shape, pred_instances=shown))
    return samples


@pytest.mark.parametrize("seed", [0, 1])
def test_ap_is_what_pycocotools_gives_for_the_stored_predictions(
    coco: Path, tmp_path: Path, seed: int
) -> None:
    annotations = str(coco / "annotations/instances_val2017.json")
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = CocoDataset(
            data_root=str(coco), ann_file=annotations, data_prefix=dict(img="val2017/"), test_mode=True
        )
        metric = CocoMetric(
            ann_file=annotations, metric=["bbox", "segm"], outfile_prefix=str(tmp_path / "stored")
        )
        metric.dataset_meta = dataset.metainfo
        samples = predictions(dataset, np.random.default_rng(seed))
        metric.process({}, samples)
        told = metric.evaluate(len(dataset))
        for kind in ("bbox", "segm"):
            truth = COCO(annotations)
            own = COCOeval(truth, truth.loadRes(str(tmp_path / f"stored.{kind}.json")), kind)
            own.evaluate()
            own.accumulate()
            own.summarize()
            for name, value in zip(NAMES, own.stats[:6], strict=True):
                assert told[f"coco/{kind}_{name}"] == pytest.approx(value, abs=5.01e-4), (kind, name)
            assert 0.05 < own.stats[0] < 0.95, "the predictions should be neither all wrong nor all right"

    stored = json.loads((tmp_path / "stored.bbox.json").read_text())
    assert {one["category_id"] for one in stored} <= set(CATEGORY_IDS)
    labels = torch.cat([sample["pred_instances"]["labels"] for sample in samples]).tolist()
    assert [one["category_id"] for one in stored] == [CATEGORY_IDS[label] for label in labels]


def test_detections_in_a_crowd_are_no_mistakes(coco: Path) -> None:
    """The first image has a crowd of people at its left; a person found there must not cost precision."""
    annotations = str(coco / "annotations/instances_val2017.json")
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = CocoDataset(
            data_root=str(coco), ann_file=annotations, data_prefix=dict(img="val2017/"), test_mode=True
        )
        aps = []
        for label in (None, 0, dataset[0]["instances"][0]["bbox_label"]):
            samples = perfect(dataset)
            if label is not None:
                add(samples[0]["pred_instances"], [0, 0, 9, 50], label)
            metric = CocoMetric(ann_file=annotations, metric="bbox")
            metric.dataset_meta = dataset.metainfo
            metric.process({}, samples)
            aps.append(metric.evaluate(len(dataset))["coco/bbox_mAP"])
    assert aps[0] == aps[1] == 1
    assert aps[2] < 1


def perfect(dataset: CocoDataset) -> list[dict]:
    samples = []
    for item in dataset:
        objects = [instance for instance in item["instances"] if not instance["ignore_flag"]]
        shown = dict(
            bboxes=torch.tensor([one["bbox"] for one in objects], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([one["bbox_label"] for one in objects], dtype=torch.long),
            scores=torch.full((len(objects),), 0.5),
        )
        samples.append(dict(img_id=item["img_id"], ori_shape=(56, 48), pred_instances=shown))
    return samples


def add(shown: dict, box: list[int], label: int) -> None:
    shown["bboxes"] = torch.cat([shown["bboxes"], torch.tensor([box], dtype=torch.float32)])
    shown["labels"] = torch.cat([shown["labels"], torch.tensor([label])])
    shown["scores"] = torch.cat([shown["scores"], torch.tensor([0.9])])


def test_miou_is_that_of_the_confusion_matrix(tmp_path: Path) -> None:
    make_tiny("ade20k", tmp_path)
    prefix = dict(img_path="images/validation", seg_map_path="annotations/validation")
    dataset = ADE20KDataset(
        data_root=str(tmp_path), data_prefix=prefix, pipeline=[LoadImage(), LoadSegMap(150)]
    )
    rng = np.random.default_rng(0)
    confusion = np.zeros((150, 150))  # truth, prediction
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = dataset.metainfo
    for item in dataset:
        truth = item["gt_seg_map"].astype(int)
        guess = np.where(
            (rng.random(truth.shape) < 0.6) & (truth < 150), truth, rng.integers(0, 150, truth.shape)
        )
        known = truth != 255
        np.add.at(confusion, (truth[known], guess[known]), 1)
        maps = (dict(data=torch.tensor(labels)[None]) for labels in (guess, truth))
        metric.process({}, [dict(zip(("pred_sem_seg", "gt_sem_seg"), maps, strict=True))])
    told = metric.evaluate(len(dataset))

    right, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    assert 255 in np.concatenate([item["gt_seg_map"].ravel() for item in dataset])
    assert told["mIoU"] == pytest.approx(100 * (right[union > 0] / union[union > 0]).mean(), abs=5.01e-3)
    assert told["aAcc"] == pytest.approx(100 * right.sum() / confusion.sum(), abs=5.01e-3)
    seen = confusion.sum(1) > 0
    assert told["mAcc"] == pytest.approx(100 * (right[seen] / confusion.sum(1)[seen]).mean(), abs=5.01e-3)


def test_outcomes_of_segmentation_are_its_confusion_counts_with_labels_that_are_no_class() -> None:
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = dict(classes=("ground", "thing", "third", "fourth"))
    runner = runner_of(metric)
    hook = OutcomesHook()
    hook.before_val(runner)
    labelled, predicted = [[0, 1, 255], [1, 7, 1]], [[0, 1, 1], [0, 1, 1]]
    samples = []
    for name, labels in (("a/0.png", labelled), ("a/1.png", predicted)):
        maps = (dict(data=torch.tensor([own])) for own in (predicted, labels))
        samples.append(dict(zip(("pred_sem_seg", "gt_sem_seg"), maps, strict=True), img_path=f"root/{name}"))
    told = evaluated(runner, samples)
    found = hook.outcomes(runner, {"miou": told["mIoU"]})
    part = found.parts["miou"]
    assert found.images == ("0.png", "1.png")
    cells = zip(
        *(getattr(part, own).tolist() for own in ("image", "truth", "prediction", "pixels")), strict=True
    )
    assert sorted(cells) == [
        (0, 0, 0, 1),
        (0, 1, 0, 1),
        (0, 1, 1, 2),
        (0, 4, 1, 1),
        (1, 0, 0, 2),
        (1, 1, 1, 4),
    ]
    assert found.value("miou") == pytest.approx(told["mIoU"], abs=5.01e-3)
    assert found.absent_classes() == ["third", "fourth"]


def test_outcomes_of_classification_agree_with_the_accuracy_where_scores_are_equal() -> None:
    metric = Accuracy(topk=(1, 3))
    runner = runner_of(metric)
    hook = OutcomesHook()
    hook.before_val(runner)
    logits = torch.tensor(np.random.default_rng(0).integers(0, 3, size=(300, 5)), dtype=torch.float32)
    logits[0] = torch.tensor([2.0, 0.0, 1.0, -1.0, 200.0])
    labels = torch.arange(300) % 5
    samples = [
        dict(pred_score=own.softmax(0), gt_label=label[None], img_path=f"/data/val/{label}/{i}.png")
        for i, (own, label) in enumerate(zip(logits, labels, strict=True))
    ]
    told = evaluated(runner, samples)
    found = hook.outcomes(runner, {"top1": told["accuracy/top1"]})
    assert found.images[:2] == ("0/0.png", "1/1.png")
    assert found.value("top1") == pytest.approx(told["accuracy/top1"], abs=1e-4)
    assert stderr({"top1": 80.0}, 100, found) == {"top1": 4.0}
    others = logits.double().scatter(1, labels[:, None], -np.inf).max(1).values
    margins = (logits.double().gather(1, labels[:, None])[:, 0] - others).numpy()
    part = found.parts["top1"]
    assert part.margin[1:] == pytest.approx(margins[1:], abs=1e-5)
    assert -104 < part.margin[0] < -103  # of a score that float32 rounds to 0
    assert (part.correct[part.margin < -1e-5] == 0).all()
    assert (part.correct[part.margin > 1e-5] == 1).all()
    assert {0, 1} == set(part.correct[np.abs(part.margin) < 1e-5])


def test_outcomes_of_detection_give_the_ap_of_the_evaluator_also_without_detections(
    coco: Path, tmp_path: Path
) -> None:
    annotations = str(coco / "annotations/instances_val2017.json")
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = CocoDataset(
            data_root=str(coco), ann_file=annotations, data_prefix=dict(img="val2017/"), test_mode=True
        )
        metric = CocoMetric(ann_file=annotations, metric=["bbox", "segm"])
        metric.dataset_meta = dataset.metainfo
        runner = runner_of(metric, tmp_path)
        hook = OutcomesHook()
        hook.before_val(runner)
        samples = predictions(dataset, np.random.default_rng(0))
        told = evaluated(runner, samples)
        metrics = {"box_ap": 100 * told["coco/bbox_mAP"], "mask_ap": 100 * told["coco/segm_mAP"]}
        found = hook.outcomes(runner, metrics)
        for sample in samples:
            shown = sample["pred_instances"]
            sample["pred_instances"] = {name: value[:0] for name, value in shown.items()}
        evaluated(runner, samples)
        none = hook.outcomes(runner, dict.fromkeys(metrics, 0.0))
    assert found.images == tuple(info["file_name"] for info in metric._coco_api.dataset["images"])
    check_values(found, metrics)
    check_values(none, dict.fromkeys(metrics, 0.0))
    assert np.nanmax(none.resampled["mask_ap"]) == 0
    with pytest.raises(ValueError, match=r"box_ap is .* from the outcomes of \d+ images"):
        check_values(found, {**metrics, "box_ap": metrics["box_ap"] + 0.2})
    assert 0 < found.parts["box_ap"].hit.mean() < 1

    notes = json.loads(Path(annotations).read_text())["annotations"]
    shown = {note["category_id"] for note in notes if not note["iscrowd"]}
    names = dict(zip(CATEGORY_IDS, dataset.metainfo["classes"], strict=True))
    assert found.absent_classes() == [names[id_] for id_ in CATEGORY_IDS if id_ not in shown]
    assert 60 < len(found.absent_classes()) < 80


def runner_of(metric: BaseMetric, folder: Path | None = None) -> SimpleNamespace:
    evaluator = SimpleNamespace(metrics=[metric], dataset_meta=metric.dataset_meta)
    return SimpleNamespace(val_evaluator=evaluator, work_dir=folder)


def evaluated(runner: SimpleNamespace, samples: list[dict]) -> dict[str, float]:
    told = {}
    for metric in runner.val_evaluator.metrics:
        metric.process({}, copy.deepcopy(samples))
        told |= metric.evaluate(len(samples))
    return told
