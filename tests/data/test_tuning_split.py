"""The tuning split: what is trained, what is evaluated, and the metric of exactly those images."""

import json
from collections import Counter
from hashlib import sha1
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.utils.data import DataLoader

from mixmae_bench.datasets.catalog import CATALOG, make_tiny
from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.datasets.leaves import leaves
from mixmae_bench.datasets.tuning_split import carve, tuning_images
from mixmae_bench.engine.config import find_data, load_config, relocate
from mixmae_bench.errors import UserError

DIGITS = {
    "classification": "mixmae-swin-small_1xb50-40e_digits",
    "detection": "mask-rcnn_mixmae-swin-small_1xb8-24e_digits",
    "segmentation": "upernet_mixmae-swin-small_1xb32-12e_digits",
}
SHARE = 0.2


def split(cfg: Config, seed: int = 0) -> Config:
    return find_data(carve(cfg, SHARE, seed), by_option=False)


def loader(cfg: Config, part: str) -> DataLoader:
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return Runner.build_dataloader(cfg[f"{part}_dataloader"], seed=0)


def dataset(cfg: Config, part: str) -> BaseDataset:
    return loader(cfg, part).dataset


def paths(own: BaseDataset) -> set[str]:
    return {own.get_data_info(number)["img_path"] for number in range(len(own))}


def yielded(cfg: Config, part: str) -> set[str]:
    """Return the images of one pass over a loader, as a training or an evaluation sees them."""
    return {sample.img_path for batch in loader(cfg, part) for sample in batch["data_samples"]}


@pytest.mark.parametrize("kind", DIGITS)
def test_tuning_images_are_not_trained_on_and_are_none_of_those_reported_on(kind: str) -> None:
    cfg = load_config(DIGITS[kind])
    own = split(cfg)
    trained, tuned = yielded(own, "train"), yielded(own, "val")
    whole = find_data(cfg, by_option=False)
    everything, reported = (paths(dataset(whole, part)) for part in ("train", "val"))
    assert len(tuned) == SHARE * len(everything)
    assert not trained & tuned
    assert trained | tuned == everything
    assert not tuned & reported
    assert str(reported.pop()).rpartition("/")[0] not in str(own)  # the config does not even name them


@pytest.mark.parametrize("kind", DIGITS)
def test_tuning_images_are_loaded_as_validation_images_are(kind: str) -> None:
    cfg = load_config(DIGITS[kind])
    before, after = (
        next(leaf.dataset for leaf in leaves(own) if leaf.loader == "val_dataloader")
        for own in (cfg, carve(cfg, SHARE, 0))
    )
    assert after["pipeline"] == before["pipeline"]
    assert after.get("test_mode") == before.get("test_mode")


@pytest.mark.parametrize("kind", DIGITS)
def test_the_data_checks_accept_both_parts(kind: str) -> None:
    check_datasets(split(load_config(DIGITS[kind])), 1)


def test_the_split_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = (
        paths(dataset(split(load_config(DIGITS["detection"]), seed), "val")) for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ("mixmae_swin-b-w14_8xb128-100e_in1k", "imagenet"),
        ("mixmae_swin-b-w14_8xb64-200e_in1k-1pct", "imagenet"),
        ("mixmae_swin-b-w14_8xb64-100e_cifar100", "cifar100"),
        ("mixmae_swin-b-w14_8xb96-360e_inat2018", "inat2018"),
        ("mask-rcnn_mixmae_swin-b-w14_8xb2-lsj-1x_coco", "coco"),
        ("htc_mixmae_swin-l-w14_16xb1-ms-3x_coco", "coco"),
        ("upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px", "ade20k"),
    ],
)
def test_data_sets_at_paper_scale_are_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, data: str
) -> None:
    monkeypatch.setattr("mixmae_bench.datasets.tuning_split.tuning_images", lambda *_: {1})
    make_tiny(data, tmp_path)
    whole = relocate(load_config(config), CATALOG[data].root, tmp_path)
    whole.train_dataloader.dataset.pop("filter_cfg", None)
    before = images(dataset(in_process(whole), "train"))
    cfg = in_process(carve(whole, 0.5, 0))
    trained, tuned = (images(dataset(cfg, part)) for part in ("train", "val"))
    assert tuned == before[1:2]
    assert trained == [*before[:1], *before[2:]]


def in_process(cfg: Config) -> Config:
    """Return a config that loads data without workers."""
    for part in ("train", "val"):
        cfg[f"{part}_dataloader"].update(num_workers=0, persistent_workers=False)
        cfg[f"{part}_dataloader"].pop("prefetch_factor", None)
    return cfg


def images(own: BaseDataset) -> list[str]:
    """Return the image of every item: its path, or the hash of its pixels."""
    items = [own.get_data_info(number) for number in range(len(own))]
    return [
        item["img_path"] if "img_path" in item else sha1(item["img"].tobytes()).hexdigest() for item in items
    ]


# What the tuning split contains.


def test_every_class_gives_its_share() -> None:
    labels = [0] * 10 + [1] * 25 + [2] * 1
    chosen = tuning_images(labels, 0.2, 0)
    assert Counter(labels[number] for number in chosen) == {0: 2, 1: 5}


def test_shares_of_small_classes_are_rounded_so_that_they_sum_to_the_share_of_all() -> None:
    labels = [label for label in range(100) for _ in range(13)]  # as in 1 % of ImageNet
    counts = Counter(labels[number] for number in tuning_images(labels, 0.2, 0))
    assert sum(counts.values()) == 260
    assert Counter(counts.values()) == {3: 60, 2: 40}  # 2.6 each
    assert counts != Counter(labels[number] for number in tuning_images(labels, 0.2, 1))


def test_images_without_one_label_each_are_chosen_by_image() -> None:
    assert len(tuning_images([None] * 10, 0.2, 0)) == len(tuning_images([[0, 1], [2]] * 5, 0.2, 0)) == 2


def coco(folder: Path, images: int = 10) -> dict:
    """Write a COCO set, in which every other image has an object, and return the config of its data set."""
    notes = [
        dict(id=n + 1, image_id=n, category_id=1, bbox=[1, 1, 8, 8], area=64, iscrowd=0)
        for n in range(0, images, 2)
    ]
    content = {
        "images": [dict(id=n, file_name=f"{n}.png", width=16, height=16) for n in range(images)],
        "annotations": notes,
        "categories": [dict(id=1, name="one")],
    }
    (folder / "notes.json").write_text(json.dumps(content))
    for number in range(images):
        Image.new("RGB", (16, 16)).save(folder / f"{number}.png")
    return dict(
        type="CocoDataset",
        data_root=str(folder),
        ann_file="notes.json",
        data_prefix=dict(img=""),
        metainfo=dict(classes=("one",)),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[],
    )


def on(train: dict, val: dict | None = None) -> Config:
    """Return a config with these data sets of training and validation."""
    val = dict(type="CocoDataset", pipeline=[], test_mode=True) if val is None else val
    settings = dict(batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False))
    return Config(
        dict(
            default_scope="mmdet",
            train_dataloader=dict(settings, dataset=train),
            val_dataloader=dict(settings, dataset=val),
            val_evaluator=dict(type="CocoMetric", ann_file="val.json"),
        )
    )


def names(own: BaseDataset) -> list[str]:
    return sorted(Path(path).name for path in paths(own))


def test_images_that_training_filters_out_stay_out_of_it_and_are_still_tuned_on(tmp_path: Path) -> None:
    cfg = split(on(coco(tmp_path)))
    trained, tuned = names(dataset(cfg, "train")), names(dataset(cfg, "val"))
    assert len(tuned) == 2
    assert trained == sorted({f"{n}.png" for n in range(0, 10, 2)} - set(tuned))


def test_indices_of_the_training_set_hold_for_both_parts(tmp_path: Path) -> None:
    cfg = split(on({**coco(tmp_path), "indices": 5, "filter_cfg": None}))
    assert sorted(names(dataset(cfg, "train")) + names(dataset(cfg, "val"))) == [f"{n}.png" for n in range(5)]


def test_a_repeated_training_set_is_split_inside_its_wrapper(tmp_path: Path) -> None:
    cfg = split(on(dict(type="RepeatDataset", times=3, dataset=coco(tmp_path))))
    trained, tuned = dataset(cfg, "train"), dataset(cfg, "val")
    assert len(trained) == 3 * len(trained.dataset)
    assert not paths(trained.dataset) & paths(tuned)


def test_a_split_without_an_image_is_refused(tmp_path: Path) -> None:
    cfg = split(on(coco(tmp_path, images=2)))
    with pytest.raises(UserError, match=r"notes.json: 0 of 2 images would be in the tuning split; .*`share`"):
        dataset(cfg, "val")


def test_several_training_sets_are_refused(tmp_path: Path) -> None:
    two = dict(type="ConcatDataset", datasets=[coco(tmp_path)] * 2)
    with pytest.raises(UserError, match="train_dataloader has 2 data sets; give a config with one"):
        carve(on(two), SHARE, 0)


def test_an_evaluator_that_cannot_be_restricted_is_refused(tmp_path: Path) -> None:
    cfg = on(coco(tmp_path))
    cfg.val_evaluator.type = "LVISMetric"
    with pytest.raises(UserError, match=r"LVISMetric reads val\.json and cannot be restricted"):
        carve(cfg, SHARE, 0)


# The metric of the tuning images, by hand.


def evaluated(cfg: Config, predict: object) -> dict[str, float]:
    """Return the metrics of the config's evaluator for made predictions on its evaluated images."""
    own = dataset(cfg, "val")
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        evaluator = Evaluator(cfg.val_evaluator)
    evaluator.dataset_meta = own.metainfo
    for number in range(len(own)):
        sample = own[number]["data_samples"]
        predict(sample, own.get_data_info(number))
        evaluator.process(data_samples=[sample], data_batch=None)
    return evaluator.evaluate(len(own))


def test_top1_is_that_of_the_tuning_images() -> None:
    cfg, rng, right = split(load_config(DIGITS["classification"])), np.random.default_rng(0), []

    def predict(sample: object, info: dict) -> None:
        scores = rng.random(10) + 0.5 * (np.arange(10) == info["gt_label"])
        right.append(scores.argmax() == int(Path(info["img_path"]).parent.name))
        sample.set_pred_score(torch.tensor(scores))

    found = evaluated(cfg, predict)["accuracy/top1"]
    assert len(right) == 100
    assert found == pytest.approx(100 * np.mean(right))


def test_box_ap_is_that_of_the_tuning_images(tmp_path: Path) -> None:
    cfg, rng = split(load_config(DIGITS["detection"])), np.random.default_rng(0)
    cfg.val_evaluator.metric = "bbox"
    boxes: list[dict] = []

    def predict(sample: object, info: dict) -> None:
        """Find every object with an error of a few pixels; one of ten has a wrong class."""
        truth = info["instances"]
        shifted = np.array([np.array(own["bbox"]) + rng.normal(0, 2, 4) for own in truth])
        labels = np.array([(own["bbox_label"] + (rng.random() < 0.1)) % 10 for own in truth])
        scores = rng.random(len(truth))
        for box, label, score in zip(shifted, labels, scores, strict=True):
            x0, y0, x1, y1 = box
            size = [x0, y0, x1 - x0, y1 - y0]
            boxes.append(dict(image_id=info["img_id"], category_id=label + 1, bbox=size, score=score))
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(shifted), labels=torch.tensor(labels), scores=torch.tensor(scores)
        )

    found = evaluated(cfg, predict)["coco/bbox_mAP"]
    content = json.loads(Path(cfg.val_evaluator.ann_file).read_text())
    ids = {box["image_id"] for box in boxes}
    assert len(ids) == 20 < len(content["images"])
    for key, name in (("images", "id"), ("annotations", "image_id")):
        content[key] = [entry for entry in content[key] if entry[name] in ids]
    (tmp_path / "carved.json").write_text(json.dumps(content))
    truth = COCO(tmp_path / "carved.json")
    expected = COCOeval(truth, truth.loadRes(boxes), "bbox")
    expected.evaluate()
    expected.accumulate()
    expected.summarize()
    assert 0.2 < found < 0.9
    assert found == pytest.approx(expected.stats[0], abs=6e-4)  # mmdet rounds to three digits


def test_miou_is_that_of_the_tuning_images() -> None:
    cfg, rng = split(load_config(DIGITS["segmentation"])), np.random.default_rng(0)
    counts = np.zeros((11, 11))

    def predict(sample: object, info: dict) -> None:
        truth = np.array(Image.open(info["seg_map_path"])).astype(int) - 1
        found = np.where(rng.random(truth.shape) < 0.2, rng.integers(11, size=truth.shape), truth)
        np.add.at(counts, (truth.ravel(), found.ravel()), 1)
        sample.pred_sem_seg = PixelData(data=torch.tensor(found)[None])

    found = evaluated(cfg, predict)["mIoU"]
    both = np.diag(counts)
    ious = both / (counts.sum(0) + counts.sum(1) - both)
    assert counts.sum() == 100 * 32 * 32
    assert found == pytest.approx(100 * ious.mean(), abs=0.006)  # mmseg rounds to two digits


def test_copies_leave_the_config_as_it_was(tmp_path: Path) -> None:
    cfg = on(coco(tmp_path))
    before = ConfigDict(cfg.to_dict())
    carve(cfg, SHARE, 0)
    assert cfg.to_dict() == before


def test_labels_that_are_numpy_integers_are_balanced_as_integers_are() -> None:
    labels = [0, 1, 1, 2, 2, 2] * 10
    assert tuning_images(list(np.array(labels)), 0.2, 0) == tuning_images(labels, 0.2, 0)
