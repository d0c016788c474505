"""The digit scenes: exact repetition, a clean split, true labels, and layouts that OpenMMLab reads."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from sklearn.neighbors import KNeighborsClassifier

from mixmae_bench.datasets import digits
from mixmae_bench.datasets.digits import CLASSES, SEG_CLASSES, DigitsConfig, build_digits

SMALL = DigitsConfig(
    pretrain=30,
    classification_train=40,
    classification_val=40,
    detection_train=40,
    detection_val=40,
    segmentation_train=40,
    segmentation_val=40,
)
DEFAULT = DigitsConfig()
LOAD_DIGITS = sklearn.datasets.load_digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_digits(tmp_path_factory.mktemp("cache"), SMALL)


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the hash of every file, by its path in the folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def coco(folder: Path, split: str) -> COCO:
    return COCO(folder / f"detection/annotations/instances_{split}2017.json")


def ink_by_colour(image: np.ndarray, mask: np.ndarray, box: list[int]) -> np.ndarray:
    """Find a digit's ink from the pixels: in its box, and nearer to its tint than to the rest."""
    x, y, width, height = box
    inside = np.zeros(mask.shape, bool)
    inside[y : y + height, x : x + width] = True
    colours, counts = np.unique(image[mask], axis=0, return_counts=True)
    tint = colours[counts.argmax()].astype(float)
    ground = image[inside & ~mask].mean(axis=0)
    return inside & (np.linalg.norm(image - tint, axis=2) < np.linalg.norm(image - ground, axis=2))


def as_features(mask: np.ndarray) -> np.ndarray:
    """Cut a mask or an ink image to its content and bring it to 8x8, as one row."""
    x, y, width, height = cv2.boundingRect((mask > 0.5 * mask.max()).astype(np.uint8))
    cut = mask[y : y + height, x : x + width].astype(np.float32)
    return cv2.resize(cut, (8, 8), interpolation=cv2.INTER_AREA).ravel() / mask.max()


def share_recognised(masks: list[np.ndarray], labels: list[int]) -> float:
    """Return the share of masks that look most like a source digit of their label."""
    source = LOAD_DIGITS()
    judge = KNeighborsClassifier(1).fit([as_features(image) for image in source.images], source.target)
    return judge.score([as_features(mask) for mask in masks], labels)


def test_same_config_gives_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = build_digits(tmp_path, SMALL)
    assert again.name == folder.name
    assert fingerprint(again) == fingerprint(folder)
    assert len(fingerprint(folder)) == 1 + 30 + 2 * 40 + (2 * 40 + 2) + 2 * 2 * 40


def test_seed_changes_folder_and_content(folder: Path, tmp_path: Path) -> None:
    other = build_digits(tmp_path, DigitsConfig(**{**vars(SMALL), "seed": 1}))
    assert other.name != folder.name
    ours, theirs = fingerprint(folder), fingerprint(other)
    assert all(theirs[name] != ours[name] for name in ours if "/images/" in name)


def test_finished_folder_is_returned_untouched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_paint_all", None)
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(folder.parent))
    assert build_digits(config=SMALL) == folder


def test_splits_are_disjoint_and_stratified(folder: Path) -> None:
    record = json.loads((folder / "splits.json").read_text())
    train, labelled, val = (record["sources"][split] for split in ("train", "labelled", "val"))
    assert sorted(train + val) == list(range(1797))
    assert (len(train), len(labelled)) == (DEFAULT.train_sources, DEFAULT.labelled_sources)
    assert set(labelled) < set(train)
    for split in (labelled, val):
        shares = np.bincount(LOAD_DIGITS().target[split]) / np.bincount(LOAD_DIGITS().target)
        assert np.abs(shares - len(split) / 1797).max() < 0.01


def test_labelled_scenes_show_few_digits_and_unlabelled_ones_all_of_training(tmp_path: Path) -> None:
    config = DigitsConfig(**{**vars(SMALL), "pretrain": 1400, "segmentation_train": 300})
    record = json.loads((build_digits(tmp_path, config) / "splits.json").read_text())
    sources, used = record["sources"], record["used"]
    # Classes are random, so the digits of a class that is drawn rarely are not all used yet.
    assert len(used["pretrain"]) > 0.9 * len(sources["train"])
    assert len(used["segmentation/images/training"]) > 0.9 * len(sources["labelled"])
    splits = {
        "pretrain": "train",
        **dict.fromkeys(
            ("classification/train", "detection/train2017", "segmentation/images/training"), "labelled"
        ),
        **dict.fromkeys(("classification/val", "detection/val2017", "segmentation/images/validation"), "val"),
    }
    assert set(used) == set(splits)
    for name, split in splits.items():
        assert used[name]
        assert set(used[name]) <= set(sources[split]), name


@pytest.mark.parametrize("changed", ["unlabelled", "labelled", "val"])
def test_scenes_show_digits_of_their_own_split_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Turn one split's source digits upside down: only the images of its sets change.

    Every labelled or validation scene shows a digit of its split, so all of them change. A pretraining scene
    may show a labelled digit or an unlabelled one.
    """
    source = LOAD_DIGITS()
    indices = json.loads((folder / "splits.json").read_text())["sources"]
    indices["unlabelled"] = sorted(set(indices["train"]) - set(indices["labelled"]))
    source.images[indices[changed]] = source.images[indices[changed], ::-1].copy()
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: source)
    before, after = fingerprint(folder), fingerprint(build_digits(tmp_path, SMALL))
    images = [name for name in before if name.endswith(".png") and "/annotations/" not in name]
    different = {name for name in images if before[name] != after[name]}
    in_pretraining = {name for name in images if name.startswith("pretrain/")}
    assert bool(different & in_pretraining) == (changed != "val")
    for name in set(images) - in_pretraining:
        belongs = "val" if "/val" in name else "labelled"
        assert (name in different) == (belongs == changed), name


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_boxes_and_polygons_fit_the_ink(folder: Path, split: str) -> None:
    data = coco(folder, split)
    assert [data.cats[number]["name"] for number in sorted(data.cats)] == list(CLASSES)
    assert {note["category_id"] for note in data.anns.values()} == set(data.cats)
    masks, labels = [], []
    for image_id, entry in data.imgs.items():
        image = read(folder / f"detection/{split}2017" / entry["file_name"])
        assert image.shape == (entry["height"], entry["width"], 3) == (32, 32, 3)
        notes = data.loadAnns(data.getAnnIds([image_id]))
        assert len(notes) == 1
        for note in notes:
            assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in note["segmentation"])
            mask = data.annToMask(note).astype(bool)
            x, y, width, height = note["bbox"]
            assert min(x, y) >= 0
            assert max(x + width, y + height) <= 32
            assert 18 <= max(width, height) <= 32
            points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in note["segmentation"]])
            extent = np.array([*points.min(axis=0), *points.max(axis=0)])
            assert np.abs(extent - [x, y, x + width, y + height]).max() < 1
            assert note["area"] == mask.sum() > 30
            assert note["iscrowd"] == 0
            ink = ink_by_colour(image, mask, note["bbox"])
            assert (ink & mask).sum() / (ink | mask).sum() > 0.8
            masks.append(mask)
            labels.append(note["category_id"] - 1)
    assert share_recognised(masks, labels) > 0.9


def test_polygons_keep_holes_open() -> None:
    holed = np.ones((20, 20), bool)
    holed[3:6, 4:9] = holed[12, 15] = False
    holed[16:18, 2:5] = holed[17, 4:12] = False
    polygons = digits._polygons(holed)
    drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 20, 20)))
    assert (drawn == holed).all()


def test_segmentation_labels_fit_the_ink(folder: Path) -> None:
    masks, labels, seen = [], [], set()
    for split in ("training", "validation"):
        for path in sorted((folder / "segmentation/images" / split).iterdir()):
            image, stored = read(path), read(folder / "segmentation/annotations" / split / path.name)
            assert image.shape == (32, 32, 3)
            assert stored.shape == (32, 32)
            assert stored.dtype == np.uint8
            seen |= set(np.unique(stored))
            luma = image @ digits.LUMA / 255
            for label in set(np.unique(stored)) - {1}:
                ink = (stored == label).astype(np.uint8)
                # Background 2 to 4 px from the ink, without its blurred edge.
                near = cv2.dilate(ink, np.ones((9, 9))) - cv2.dilate(ink, np.ones((3, 3)))
                ground = luma[(near > 0) & (stored == 1)]
                assert abs(np.median(luma[ink > 0]) - np.median(ground)) > 0.1
                masks.append(ink)
                labels.append(label - 2)
    assert seen == set(range(1, 1 + len(SEG_CLASSES)))
    assert share_recognised(masks, labels) > 0.9


def test_classification_folders_hold_their_digit(folder: Path) -> None:
    masks, labels = [], []
    for split in ("train", "val"):
        for label, name in enumerate(CLASSES):
            paths = sorted((folder / "classification" / split / name).iterdir())
            assert len(paths) == 4
            for path in paths:
                image = read(path)
                assert image.shape == (32, 32, 3)
                # A tint covers many pixels with the very same colour; the background never repeats one.
                colours, counts = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
                tint = colours[counts.argmax()].astype(int)
                masks.append(np.abs(image - tint).max(axis=2) < 40)
                labels.append(label)
    assert share_recognised(masks, labels) > 0.9


def test_mmpretrain_reads_pretraining_and_classification(folder: Path) -> None:
    from mmpretrain.datasets import CustomDataset, ImageNet

    load = [{"type": "LoadImageFromFile"}]
    plain = CustomDataset(data_root=str(folder), data_prefix="pretrain", with_label=False, pipeline=load)
    assert len(plain) == 30
    assert plain[29]["img"].shape == (32, 32, 3)
    for split in ("train", "val"):
        labelled = ImageNet(
            data_root=str(folder / "classification"),
            split=split,
            metainfo={"classes": CLASSES},
            pipeline=load,
        )
        assert len(labelled) == 40
        assert np.bincount(labelled.get_gt_labels()).tolist() == [4] * 10
        assert labelled.CLASSES == CLASSES
        assert Path(labelled[39]["img_path"]).parent.name == "9"


def test_mmdet_reads_detection(folder: Path) -> None:
    from mmdet.datasets import CocoDataset
    from mmdet.utils import register_all_modules

    register_all_modules()
    for split in ("train", "val"):
        data = CocoDataset(
            data_root=str(folder / "detection"),
            ann_file=f"annotations/instances_{split}2017.json",
            data_prefix={"img": f"{split}2017/"},
            metainfo={"classes": CLASSES},
            pipeline=[
                {"type": "LoadImageFromFile"},
                {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
            ],
        )
        notes = list(coco(folder, split).anns.values())
        assert len(data) == 40
        read_labels = np.concatenate([sample["gt_bboxes_labels"] for sample in data])
        assert read_labels.tolist() == [note["category_id"] - 1 for note in notes]
        # mmdet replaces invalid polygons by empty masks: all must have kept their area.
        read_areas = np.concatenate([sample["gt_masks"].to_ndarray().sum(axis=(1, 2)) for sample in data])
        assert read_areas.tolist() == [note["area"] for note in notes]


def test_mmseg_reads_segmentation(folder: Path) -> None:
    from mmseg.datasets import BaseSegDataset
    from mmseg.utils import register_all_modules

    register_all_modules()
    for split in ("training", "validation"):
        data = BaseSegDataset(
            data_root=str(folder / "segmentation"),
            data_prefix={"img_path": f"images/{split}", "seg_map_path": f"annotations/{split}"},
            img_suffix=".png",
            seg_map_suffix=".png",
            reduce_zero_label=True,
            metainfo={"classes": SEG_CLASSES},
            pipeline=[{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}],
        )
        assert len(data) == 40
        assert set(np.unique([sample["gt_seg_map"] for sample in data])) == set(range(len(SEG_CLASSES)))


def test_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(digits, "_write_detection", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_digits(tmp_path, SMALL)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_build_are_no_data_set(folder: Path, tmp_path: Path) -> None:
    leftover = tmp_path / f".{folder.name}.tmp-0"
    (leftover / "pretrain").mkdir(parents=True)
    assert fingerprint(build_digits(tmp_path, SMALL)) == fingerprint(folder)


def test_incomplete_copy_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / folder.name / "pretrain").mkdir(parents=True)
    with pytest.raises(OSError, match=rf"{folder.name} holds an incomplete .* delete the folder"):
        build_digits(tmp_path, SMALL)


def test_two_processes_build_at_once(folder: Path, tmp_path: Path) -> None:
    imports = "from pathlib import Path; from mixmae_bench.datasets.digits import DigitsConfig, build_digits"
    code = f"{imports}; print(build_digits(Path({str(tmp_path)!r}), {SMALL!r}))"
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert printed == [f"{tmp_path / folder.name}\n"] * 2
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert fingerprint(tmp_path / folder.name) == fingerprint(folder)


def test_slower_of_two_builds_accepts_the_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint = digits._paint_all

    def overtaken(work: Path, config: DigitsConfig) -> None:
        paint(work, config)
        monkeypatch.setattr(digits, "_paint_all", paint)
        build_digits(tmp_path, config)

    monkeypatch.setattr(digits, "_paint_all", overtaken)
    assert fingerprint(build_digits(tmp_path, SMALL)) == fingerprint(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_unwritable_root_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(OSError, match="set MIXMAE_BENCH_CACHE to a folder that can be written") as caught:
        build_digits(blocked, SMALL)
    assert str(blocked) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"pretrain": 9}, {"train_sources": 1790}, {"labelled_sources": 1391}]
)
def test_config_names_the_wrong_value(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"DigitsConfig\.{next(iter(wrong))} must lie in"):
        DigitsConfig(**wrong)
