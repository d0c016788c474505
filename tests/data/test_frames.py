"""An image and its boxes or map lie in one frame, whatever EXIF says; what cannot be told is refused."""

from pathlib import Path

import numpy as np
import pytest
from made_data import coco_config, make_scene, save, seg_config, write_coco
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image, ImageOps

from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.datasets.images import LoadImage
from mixmae_bench.errors import UserError

LOAD_MAP = dict(type="mixmae_bench.LoadSegMap", num_classes=2)


def photo(square: bool = False) -> np.ndarray:
    """Return a red object left below the middle, 48 px high and 80 px wide, or 80 px square."""
    pixels = np.full((80 if square else 48, 80, 3), 30, np.uint8)
    pixels[10:30, 50:74] = (220, 40, 40)
    return pixels


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels as a viewer shows them that applies an EXIF orientation."""
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.array(ImageOps.exif_transpose(image))


def photos(
    root: Path, orientation: int, in_stored_pixels: bool, kind: str = "jpg", square: bool = False
) -> str:
    """Write four photos, every other one with an EXIF orientation, and their COCO file; return its name."""
    images, notes = [], []
    options = dict(quality=95) if kind == "jpg" else {}
    for number in range(4):
        exif = orientation if number % 2 else 1
        save(root / f"{number}.{kind}", photo(square), exif, **options)
        labelled = photo(square) if in_stored_pixels else turned(photo(square), exif)
        rows, columns = np.nonzero(labelled[..., 0] > 150)
        x, y = int(columns.min()), int(rows.min())
        w, h = int(columns.max()) + 1 - x, int(rows.max()) + 1 - y
        height, width = labelled.shape[:2]
        images.append(dict(id=number, file_name=f"{number}.{kind}", width=width, height=height))
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        notes.append(dict(id=number + 1, image_id=number, category_id=1, bbox=[x, y, w, h]))
        notes[-1] |= dict(area=w * h, iscrowd=0, segmentation=[corners])
    categories = [dict(id=1, name="red"), dict(id=2, name="green")]
    return write_coco(root, "a.json", dict(images=images, annotations=notes, categories=categories))


def evaluated(cfg: Config) -> dict[str, float]:
    check_datasets(cfg)
    keys = ("model", "val_dataloader", "val_evaluator", "val_cfg", "work_dir", "default_scope")
    return Runner.from_cfg(Config({key: cfg[key] for key in keys} | dict(experiment_name=str(id(cfg))))).val()


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("in_stored_pixels", [True, False], ids=["stored", "upright"])
def test_a_perfect_detector_has_an_ap_of_1_on_phone_photos_or_they_are_refused(
    in_stored_pixels: bool, kind: str, tmp_path: Path
) -> None:
    name = photos(tmp_path, 6, in_stored_pixels, kind)
    if kind == "tiff" and in_stored_pixels:  # every decoder turns these
        with pytest.raises(UserError, match=r"1.tiff .* it is 80x48, its annotation says 48x80"):
            check_datasets(coco_config(tmp_path, name, name))
        return
    metrics = evaluated(coco_config(tmp_path, name, name))
    # JPEG blurs the masks' edges.
    assert metrics["coco/bbox_mAP"] == 1
    assert metrics["coco/segm_mAP"] > 0.95


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_quarter_turns_of_all_kinds_are_told_by_height_and_width(orientation: int, tmp_path: Path) -> None:
    save(tmp_path / "x.png", photo(), orientation)
    path = str(tmp_path / "x.png")
    for wanted in (photo(), turned(photo(), orientation)):
        height, width = wanted.shape[:2]
        loaded = LoadImage()(dict(img_path=path, height=height, width=width))["img"]
        assert (loaded == wanted[..., ::-1]).all()


@pytest.mark.parametrize(
    ("orientation", "square"), [(2, False), (3, False), (4, False), (6, True), (8, True)]
)
@pytest.mark.parametrize("load", ["mixmae_bench.LoadImage", "LoadImageFromFile"])
def test_turns_that_keep_height_and_width_are_refused_by_name(
    load: str, orientation: int, square: bool, tmp_path: Path
) -> None:
    name = photos(tmp_path, orientation, in_stored_pixels=True, square=square)
    with pytest.raises(
        UserError, match=rf"/1.jpg cannot be used: its EXIF orientation is {orientation}, and"
    ):
        check_datasets(coco_config(tmp_path, name, name, load=load))


def test_mmdets_own_loader_is_refused_where_it_would_turn_the_image_under_its_boxes(tmp_path: Path) -> None:
    name = photos(tmp_path, 6, in_stored_pixels=True)
    with pytest.raises(
        UserError, match=r"1.jpg cannot be used: its EXIF .* load it by mixmae_bench.LoadImage"
    ):
        check_datasets(coco_config(tmp_path, name, name, load="LoadImageFromFile"))
    cfg = coco_config(tmp_path, name, name, load="LoadImageFromFile")
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.pipeline[0].color_type = "color_ignore_orientation"
    assert evaluated(cfg)["coco/bbox_mAP"] == 1
    name = photos(tmp_path, 6, in_stored_pixels=False)
    assert evaluated(coco_config(tmp_path, name, name, load="LoadImageFromFile"))["coco/bbox_mAP"] == 1


def test_an_image_of_another_size_than_its_annotation_is_named_when_it_is_loaded(tmp_path: Path) -> None:
    save(tmp_path / "x.png", photo())
    with pytest.raises(UserError, match=r"x.png cannot be used: it is 48x80, its annotation says 96x160"):
        LoadImage()(dict(img_path=str(tmp_path / "x.png"), height=96, width=160))


def test_without_boxes_or_map_the_orientation_is_applied(tmp_path: Path) -> None:
    save(tmp_path / "x.png", photo(square=True), 6)
    loaded = LoadImage()(dict(img_path=str(tmp_path / "x.png")))["img"]
    assert (loaded == turned(photo(square=True), 6)[..., ::-1]).all()


@pytest.mark.parametrize("in_stored_pixels", [True, False], ids=["stored", "upright"])
def test_an_image_lies_in_the_frame_of_its_segmentation_map(in_stored_pixels: bool, tmp_path: Path) -> None:
    for number in range(2):
        labels = make_scene(tmp_path, number)[:40]
        pixels = np.array(Image.open(tmp_path / f"img/{number}.png"))[:40]
        save(tmp_path / f"img/{number}.png", pixels, 6)
        shown = labels if in_stored_pixels else turned(labels, 6)
        save(tmp_path / f"map/{number}.png", shown)
    cfg = seg_config(tmp_path, "map", "map", LOAD_MAP)
    assert evaluated(cfg)["mIoU"] == 100
    cfg.train_dataloader.dataset.pipeline[0].type = "LoadImageFromFile"
    if in_stored_pixels:
        with pytest.raises(UserError, match=r"img/0.png does not fit its map .*/map/0.png: its EXIF"):
            check_datasets(cfg)
    else:
        check_datasets(cfg)


def test_a_map_with_an_orientation_of_its_own_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "map/0.png", make_scene(tmp_path, 0), 3)
    with pytest.raises(UserError, match=r"map/0.png cannot be used: it has an EXIF orientation \(3\)"):
        check_datasets(seg_config(tmp_path, "map", "map", LOAD_MAP))
