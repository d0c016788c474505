"""A COCO file is right, with an AP of 1 for perfect predictions, or refused before training by annotation."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_data import coco_config, make_coco, write_coco
from mmengine.config import Config
from mmengine.runner import Runner

from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.errors import UserError


def notes(change: Callable[[dict], object]) -> Callable[[dict], None]:
    """Return a change of the fourth annotation."""
    return lambda content: change(content["annotations"][3])


def images(change: Callable[[dict], object]) -> Callable[[dict], None]:
    """Return a change of the third image."""
    return lambda content: change(content["images"][2])


def number_from_0(content: dict) -> None:
    for number, note in enumerate(content["annotations"]):
        note["id"] = number


def without_iscrowd(content: dict) -> None:
    for note in content["annotations"]:
        del note["iscrowd"]


RLE = dict(size=[64, 64], counts=[0, 4096])

WRONG_ANYWHERE = {
    "annotation without id": (notes(lambda a: a.pop("id")), "annotation number 4 has no id"),
    "annotation twice": (notes(lambda a: a.update(id=1)), "annotation 1 is listed twice"),
    "unknown image": (notes(lambda a: a.update(image_id=77)), "annotation 4 is of image 77"),
    "image id as text": (notes(lambda a: a.update(image_id="2")), "annotation 4 is of image '2'"),
    "unknown category": (notes(lambda a: a.update(category_id=99)), "annotation 4 is of category 99"),
    "no category": (notes(lambda a: a.pop("category_id")), "annotation 4 is of category None"),
    "no bbox": (notes(lambda a: a.pop("bbox")), "annotation 4 has no bbox of four numbers"),
    "three numbers": (notes(lambda a: a.update(bbox=[1, 2, 3])), "annotation 4 has no bbox of four numbers"),
    "text as bbox": (notes(lambda a: a.update(bbox="1,2,3,4")), "annotation 4 has no bbox of four numbers"),
    "NaN": (notes(lambda a: a.update(bbox=[1, 2, float("nan"), 4])), "annotation 4 has no bbox of four"),
    "negative": (notes(lambda a: a.update(bbox=[9, 9, -5, 5])), "annotation 4 has a bbox of negative width"),
    "outside": (notes(lambda a: a.update(bbox=[90, 9, 5, 5])), "annotation 4 has a bbox .* outside"),
    "two corners": (notes(lambda a: a.update(bbox=[36, 30, 54, 48])), "annotation 4 has a bbox .* outside"),
    "no area": (notes(lambda a: a.pop("area")), "annotation 4 has no area"),
    "area 0": (notes(lambda a: a.update(area=0)), "annotation 4 has the area 0"),
    "iscrowd as text": (notes(lambda a: a.update(iscrowd="0")), "annotation 4 has iscrowd '0'"),
    "no segmentation": (notes(lambda a: a.pop("segmentation")), "annotation 4 has no segmentation"),
    "empty": (notes(lambda a: a.update(segmentation=[])), "annotation 4 has no segmentation"),
    "line": (notes(lambda a: a.update(segmentation=[[1, 1, 9, 9]])), "annotation 4 has a polygon of fewer"),
    "flat": (notes(lambda a: a.update(segmentation=[1, 1, 9, 1, 9, 9])), "annotation 4 has a segmentation"),
    "other size": (
        notes(lambda a: a.update(segmentation=dict(RLE, size=[32, 32]))),
        r"annotation 4 has a mask of size \[32, 32\]",
    ),
    "image twice": (images(lambda i: i.update(id=1)), "image 1 is listed twice"),
    "file twice": (images(lambda i: i.update(file_name="0.png")), "images 1 and 3 are the same file, 0.png"),
    "no height": (images(lambda i: i.pop("height")), r"image 3 \(2.png\) has no height and width"),
    "no file name": (images(lambda i: i.pop("file_name")), "image 3 has no file_name"),
    "resized later": (images(lambda i: i.update(width=128, height=128)), "2.png .* it is 64x64, .*128x128"),
    "missing file": (images(lambda i: i.update(file_name="none.png")), "none.png"),
    "category twice": (
        lambda content: content["categories"].append(dict(id=7, name="blue")),
        r"category 7 \('blue'\) is listed twice",
    ),
}
"""What no file may have: the change, and what is said of it."""

WRONG_AS_TRUTH = {
    "ids from 0": (number_from_0, "annotation 0 has an id that COCO's evaluation reads as no match"),
    "id as text": (notes(lambda a: a.update(id="a")), "annotation a has an id"),
    "no iscrowd": (without_iscrowd, "annotation 1 has no iscrowd"),
    "ignore": (notes(lambda a: a.update(ignore=1)), "annotation 4 has 'ignore'"),
    "without extent": (
        notes(lambda a: a.update(bbox=[9, 9, 5, 0], area=0)),
        "annotation 4 has a bbox without",
    ),
}
"""What only the file of an evaluator may not have."""


@pytest.fixture
def scenes(tmp_path: Path) -> dict:
    content = make_coco(tmp_path)
    write_coco(tmp_path, "ok.json", content)
    return content


def evaluated(cfg: Config) -> dict[str, float]:
    """Return what perfect predictions get of a config that is accepted."""
    assert check_datasets(cfg)["val_dataloader"] == 6
    keys = ("model", "val_dataloader", "val_evaluator", "val_cfg", "work_dir", "default_scope")
    runner = Runner.from_cfg(Config({key: cfg[key] for key in keys} | dict(experiment_name=str(id(cfg)))))
    return {key: value for key, value in runner.val().items() if key.endswith("_mAP")}


def test_perfect_predictions_have_an_ap_of_1_on_a_file_that_is_right(scenes: dict, tmp_path: Path) -> None:
    assert evaluated(coco_config(tmp_path, "ok.json", "ok.json")) == {
        "coco/bbox_mAP": 1.0,
        "coco/segm_mAP": 1.0,
    }


@pytest.mark.parametrize("where", ["train", "val"])
@pytest.mark.parametrize("name", WRONG_ANYWHERE)
def test_what_would_be_left_out_or_fail_later_is_refused(
    where: str, name: str, scenes: dict, tmp_path: Path
) -> None:
    change, said = WRONG_ANYWHERE[name]
    write_coco(tmp_path, "wrong.json", scenes, change)
    files = dict(train="ok.json", val="ok.json") | {where: "wrong.json"}
    if name == "missing file" and where == "train":
        assert check_datasets(coco_config(tmp_path, **files))  # skipped and listed
        files["load"] = "LoadImageFromFile"
    with pytest.raises(UserError, match=said) as caught:
        check_datasets(coco_config(tmp_path, **files))
    assert "\n" not in str(caught.value)
    if "png" not in said:
        assert f"{tmp_path}/wrong.json" in str(caught.value)


@pytest.mark.parametrize("name", WRONG_AS_TRUTH)
def test_what_evaluation_would_miscount_is_refused_there_and_right_in_training(
    name: str, scenes: dict, tmp_path: Path
) -> None:
    change, said = WRONG_AS_TRUTH[name]
    write_coco(tmp_path, "wrong.json", scenes, change)
    assert check_datasets(coco_config(tmp_path, "wrong.json", "ok.json"))["train_dataloader"] == 6
    with pytest.raises(UserError, match=rf"{tmp_path}/wrong.json: {said}"):
        check_datasets(coco_config(tmp_path, "ok.json", "wrong.json"))


def test_segmentations_are_asked_for_only_where_masks_are_used(scenes: dict, tmp_path: Path) -> None:
    write_coco(tmp_path, "boxes.json", scenes, lambda c: [a.pop("segmentation") for a in c["annotations"]])
    assert evaluated(coco_config(tmp_path, "boxes.json", "boxes.json", masks=False)) == {"coco/bbox_mAP": 1.0}
    with pytest.raises(UserError, match=r"annotation 1 has no segmentation, but None"):
        check_datasets(coco_config(tmp_path, "boxes.json", "ok.json"))


def test_crowds_and_run_lengths_and_unused_classes_are_right(scenes: dict, tmp_path: Path) -> None:
    def change(content: dict) -> None:
        crowd = dict(id=99, image_id=1, category_id=3, bbox=[0, 0, 64, 64], area=4096, iscrowd=1)
        content["annotations"].append(crowd | dict(segmentation=RLE))
        content["categories"].insert(0, dict(id=1, name="blue"))

    write_coco(tmp_path, "crowd.json", scenes, change)
    assert evaluated(coco_config(tmp_path, "crowd.json", "crowd.json")) == {
        "coco/bbox_mAP": 1.0,
        "coco/segm_mAP": 1.0,
    }


@pytest.mark.parametrize("pair", [("ok.json", "other.json"), ("other.json", "ok.json"), ("other.json",) * 2])
def test_categories_in_another_order_are_refused_and_both_orders_named(
    pair: tuple[str, str], scenes: dict, tmp_path: Path
) -> None:
    write_coco(tmp_path, "other.json", scenes, lambda content: content["categories"].reverse())
    with pytest.raises(
        UserError, match=r"label 0 is '(red|green)' in the one and '(red|green)' in the other"
    ):
        check_datasets(coco_config(tmp_path, *pair))


def test_two_files_in_one_order_that_the_config_follows_are_right(scenes: dict, tmp_path: Path) -> None:
    write_coco(tmp_path, "other.json", scenes, lambda content: content["categories"].reverse())
    cfg = coco_config(tmp_path, "other.json", "other.json", metainfo=dict(classes=("green", "red")))
    assert check_datasets(cfg)["train_dataloader"] == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e, root: e.pop("ann_file"), r"val_evaluator of my.py has no ann_file; .*ok.json"),
        (lambda e, root: e.update(ann_file=f"{root}/none.json"), r"none.json \(ann_file of val_eval.* exist"),
        (
            lambda e, root: e.update(ann_file=f"{root}/moved.json"),
            r"moved.json .* differs from the file of .*ok.json",
        ),
    ],
    ids=["missing", "not there", "another"],
)
def test_an_evaluator_needs_the_file_of_its_loader(
    change: Callable[[dict, Path], object], said: str, scenes: dict, tmp_path: Path
) -> None:
    write_coco(tmp_path, "moved.json", scenes, notes(lambda a: a.update(bbox=[0, 0, 20, 20])))
    for several in (False, True):
        cfg = coco_config(tmp_path, "ok.json", "ok.json")
        change(cfg.val_evaluator, tmp_path)
        if several:
            cfg.val_evaluator = [cfg.val_evaluator]
        with pytest.raises(UserError, match=said):
            check_datasets(cfg)


def test_an_evaluator_may_have_a_copy_of_the_file_and_of_its_path(scenes: dict, tmp_path: Path) -> None:
    (tmp_path / "copy.json").write_text(json.dumps(scenes, indent=1))
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("copy.json", "link/ok.json"):
        cfg = coco_config(tmp_path, "ok.json", "ok.json")
        cfg.val_evaluator.ann_file = str(tmp_path / name)
        assert evaluated(cfg)["coco/bbox_mAP"] == 1


def test_images_that_are_not_loaded_and_classes_without_objects_are_told(
    scenes: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_coco(tmp_path, "red.json", scenes, lambda c: c.update(annotations=c["annotations"][:1]))
    cfg = coco_config(tmp_path, "ok.json", "red.json", masks=False)
    cfg.val_dataloader.dataset.indices = 2
    check_datasets(cfg)
    out = capsys.readouterr().out
    assert f"4 of the 6 images of {tmp_path}/red.json are not loaded" in out
    assert f"{tmp_path}/red.json has no object of 'green'; AP is over the other classes" in out


def test_a_byte_order_mark_is_one_line(scenes: dict, tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "ok.json").read_bytes())
    with pytest.raises(
        UserError, match=r"mark.json .* cannot be read: JSONDecodeError: Unexpected UTF-8 BOM"
    ):
        check_datasets(coco_config(tmp_path, "mark.json", "ok.json"))


def test_parts_of_a_concatenated_set_are_checked_one_by_one(scenes: dict, tmp_path: Path) -> None:
    write_coco(tmp_path, "wrong.json", scenes, notes(lambda a: a.update(category_id=99)))
    cfg = coco_config(tmp_path, "ok.json", "ok.json")
    good = cfg.train_dataloader.dataset
    wrong = dict(good, ann_file="wrong.json")
    repeated = dict(type="RepeatDataset", times=2, dataset=good)
    cfg.train_dataloader.dataset = dict(type="ConcatDataset", datasets=[repeated, wrong])
    with pytest.raises(UserError, match=r"wrong.json: annotation 4"):
        check_datasets(cfg)
    shutil.copy(tmp_path / "ok.json", tmp_path / "wrong.json")
    assert check_datasets(cfg)["train_dataloader"] == 12
