"""Wrong data ends before training, in one line that names the file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mixmae_bench.datasets.catalog import make_tiny
from mixmae_bench.datasets.checks import allow_skips, check_datasets
from mixmae_bench.errors import UserError

COCO = dict(
    type="CocoDataset",
    ann_file="annotations/instances_val2017.json",
    data_prefix=dict(img="val2017/"),
    pipeline=[dict(type="mixmae_bench.LoadImage")],
)
ADE20K = dict(
    type="ADE20KDataset",
    data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
    pipeline=[dict(type="mixmae_bench.LoadImage"), dict(type="mixmae_bench.LoadSegMap", num_classes=150)],
)


def config(root: Path, scope: str, dataset: dict, **model: object) -> Config:
    loader = dict(dataset=dict(dataset, data_root=str(root)))
    content = dict(default_scope=scope, model=model, train_dataloader=loader, work_dir=str(root))
    return Config(content, cfg_text=" ", filename="my.py")


def listed(root: Path, *lines: str, classes: int = 2) -> dict:
    (root / "list.txt").write_text("\n".join(lines))
    names = [f"class {i}" for i in range(classes)]
    return dict(
        type="CustomDataset", ann_file="list.txt", data_prefix="", metainfo=dict(classes=names), pipeline=[]
    )


def test_good_data_of_every_task_passes_and_is_counted(tmp_path: Path) -> None:
    make_tiny("coco", tmp_path / "coco")
    make_tiny("ade20k", tmp_path / "ade20k")
    coco = config(tmp_path / "coco", "mmdet", COCO, roi_head=dict(bbox_head=dict(num_classes=80)))
    ade20k = config(tmp_path / "ade20k", "mmseg", ADE20K, decode_head=dict(num_classes=150))
    images = config(tmp_path, "mmpretrain", listed(tmp_path, "a 0", "b 1", "c 1"))
    counts = [check_datasets(cfg)["train_dataloader"] for cfg in (coco, ade20k, images)]
    assert counts == [4, 4, 3]


def test_a_semantic_head_has_other_classes_than_the_boxes(tmp_path: Path) -> None:
    make_tiny("coco", tmp_path)
    heads = dict(bbox_head=dict(num_classes=80), semantic_head=dict(num_classes=183))
    assert check_datasets(config(tmp_path, "mmdet", COCO, roi_head=heads))["train_dataloader"] == 4


def test_a_label_beyond_the_classes_is_named(tmp_path: Path) -> None:
    cfg = config(tmp_path, "mmpretrain", listed(tmp_path, "a.jpg 0", "b.jpg 2"))
    with pytest.raises(UserError, match=r"list.txt gives \S+/b.jpg label 2; classes are 0 to 1"):
        check_datasets(cfg)


def test_where_no_classes_are_named_labels_are_held_against_the_head(tmp_path: Path) -> None:
    dataset = {**listed(tmp_path, "a.jpg 0", "b.jpg 2", "c.jpg 1"), "metainfo": None}
    with pytest.raises(UserError, match=r"\S+/b.jpg label 2, and model.head.num_classes is 2; change"):
        check_datasets(config(tmp_path, "mmpretrain", dataset, head=dict(num_classes=2)))
    assert check_datasets(config(tmp_path, "mmpretrain", dataset, head=dict(num_classes=3)))


def test_heads_and_preprocessor_must_have_the_data_sets_classes(tmp_path: Path) -> None:
    dataset = listed(tmp_path, "a.jpg 0")
    with pytest.raises(UserError, match=r"my.py has 2 classes, and model.head.num_classes is 3"):
        check_datasets(config(tmp_path, "mmpretrain", dataset, head=dict(num_classes=3)))
    cfg = config(tmp_path, "mmpretrain", dataset, head=dict(num_classes=2))
    cfg.data_preprocessor = dict(num_classes=10)
    with pytest.raises(UserError, match=r"has 2 classes, and data_preprocessor.num_classes is 10"):
        check_datasets(cfg)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda coco: coco["annotations"].clear(), "has no usable annotation of any of its 4 images"),
        (lambda coco: coco["images"].clear(), "has no image"),
        (lambda coco: coco["categories"].pop(), r"has 79 of the 80 classes"),
        (
            lambda coco: coco["annotations"][0].pop("bbox"),
            r"val2017.json: annotation 1 has no bbox",
        ),
    ],
    ids=["annotations", "images", "categories", "key"],
)
def test_an_incomplete_coco_file_is_named(change, message: str, tmp_path: Path) -> None:
    make_tiny("coco", tmp_path)
    file = tmp_path / COCO["ann_file"]
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        check_datasets(config(tmp_path, "mmdet", COCO))


def test_a_malformed_annotation_file_is_one_line(tmp_path: Path) -> None:
    make_tiny("coco", tmp_path)
    (tmp_path / COCO["ann_file"]).write_text('{"images": [')
    with pytest.raises(
        UserError, match=r"val2017.json \(.* of my.py\) cannot be read: JSONDecodeError"
    ) as caught:
        check_datasets(config(tmp_path, "mmdet", COCO))
    assert "\n" not in str(caught.value)


def test_an_image_without_its_seg_map_is_named(tmp_path: Path) -> None:
    make_tiny("ade20k", tmp_path)
    path = tmp_path / "annotations/training/ADE_train_00000003.png"
    path.unlink()
    with pytest.raises(UserError, match=rf"ADE_train_00000003.jpg has no segmentation map: {path}"):
        check_datasets(config(tmp_path, "mmseg", ADE20K))


@pytest.mark.parametrize(("share", "limit"), [(None, 10), (0.5, 10), (5, 20)])
def test_only_the_training_set_may_skip_and_by_its_size(share: float, limit: int, tmp_path: Path) -> None:
    make_tiny("ade20k", tmp_path)
    cfg = config(tmp_path, "mmseg", ADE20K)
    cfg.train_dataloader.dataset = dict(type="RepeatDataset", dataset=cfg.train_dataloader.dataset)
    cfg.val_dataloader = dict(dataset=dict(ADE20K, data_root=str(tmp_path)))
    if share:
        cfg.max_corrupt_images = share
    allow_skips(cfg)
    skips = dict(file=str(tmp_path / "corrupt-images.txt"), limit=limit)
    assert [step["skips"] for step in cfg.train_dataloader.dataset.dataset.pipeline] == [skips] * 2
    assert all("skips" not in step for step in cfg.val_dataloader.dataset.pipeline)


class Failing(torch.utils.data.Dataset):
    """Fails in a worker as LoadImage does past its limit."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        raise UserError("data: more than 10 files cannot be used")


def test_an_error_in_a_worker_is_still_one_line() -> None:
    with pytest.raises(UserError) as caught:
        list(torch.utils.data.DataLoader(Failing(), num_workers=1))
    assert str(caught.value) == "data: more than 10 files cannot be used"
