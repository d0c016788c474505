"""Segmentation maps as people save them: read right, or refused before training by file or class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_data import make_scene, save, seg_config
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mixmae_bench.datasets import class_counts
from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.errors import UserError

OURS = dict(type="mixmae_bench.LoadSegMap", num_classes=2)
THEIRS = dict(type="LoadAnnotations")
LOADERS = pytest.mark.parametrize("load", [OURS, THEIRS], ids=["ours", "mmseg's"])


def maps(root: Path, folder: str, change: Callable[[np.ndarray], np.ndarray | Image.Image]) -> None:
    """Write six scenes, and their maps, changed, to a folder."""
    for number in range(6):
        changed = change(make_scene(root, number))
        path = root / folder / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        changed.save(path) if isinstance(changed, Image.Image) else save(path, changed)


def palette(labels: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels, mode="P")
    image.putpalette([200, 0, 0, 0, 0, 200])
    return image


def evaluated(cfg: Config) -> float:
    check_datasets(cfg)
    keys = ("model", "val_dataloader", "val_evaluator", "val_cfg", "work_dir", "default_scope")
    runner = Runner.from_cfg(Config({key: cfg[key] for key in keys} | dict(experiment_name=str(id(cfg)))))
    return runner.val()["mIoU"]


RIGHT = {
    "0 and 1": (lambda x: x, {}),
    "with 255": (lambda x: np.where(np.arange(48) < 5, np.uint8(255), x), {}),
    "palette": (palette, {}),
    "1 bit": (lambda x: Image.fromarray(x.astype(bool)), {}),
    "16 bits": (lambda x: Image.fromarray(x.astype(np.uint16)), {}),
    "1 and 2, reduced": (lambda x: x + 1, dict(reduce_zero_label=True)),
}


@LOADERS
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("name", RIGHT)
def test_perfect_predictions_have_an_miou_of_100(name: str, load: dict, tmp_path: Path) -> None:
    change, settings = RIGHT[name]
    maps(tmp_path, "maps", change)
    assert evaluated(seg_config(tmp_path, "maps", "maps", load, **settings)) == 100


WRONG = {
    "0 and 255": (lambda x: x * 255, {}, "6 segmentation maps of .*maps.* show only 'ground'"),
    "all ignored": (lambda x: x * 0 + 255, {}, "show no class "),
    "0 only": (lambda x: x * 0, {}, "show only 'ground' .* nothing to"),
    "1 and 2": (lambda x: x + 1, {}, "0.png cannot be used: it has the value 2; classes end at 1"),
    "0 and 256": (
        lambda x: Image.fromarray(x.astype(np.uint16) * 256),
        {},
        "0.png cannot be used: it has the value 256",
    ),
    "rgb": (lambda x: np.repeat(x[..., None], 3, 2), {}, r"0.png cannot be used: it has 3 channels"),
    "rgba": (lambda x: np.repeat(x[..., None], 4, 2), {}, r"0.png cannot be used: it has 4 channels"),
    "0 and 1, reduced": (lambda x: x, dict(reduce_zero_label=True), "show only 'ground'"),
    "another size": (lambda x: x[:40], {}, "img/0.png does not fit its map .*0.png: it is 48x48, .* 40x48"),
}


@LOADERS
@pytest.mark.parametrize("where", ["train", "val"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_maps_and_maps_with_nothing_to_tell_apart_are_refused(
    name: str, where: str, load: dict, tmp_path: Path
) -> None:
    change, settings, said = WRONG[name]
    reduced = settings.get("reduce_zero_label")
    maps(tmp_path, "right", (lambda x: x + 1) if reduced else (lambda x: x))
    maps(tmp_path, "wrong", change)
    folders = dict(train="right", val="right") | {where: "wrong"}
    with pytest.raises(UserError, match=said.replace("maps.*", "wrong.*")) as caught:
        check_datasets(seg_config(tmp_path, **folders, load_map=load, **settings))
    assert "\n" not in str(caught.value)


@LOADERS
def test_one_class_alone_is_nothing_to_learn(load: dict, tmp_path: Path) -> None:
    maps(tmp_path, "maps", lambda x: x)
    one = dict(reduce_zero_label=True, metainfo=dict(classes=("thing",)))
    with pytest.raises(UserError, match=r"show only 'thing' .* nothing to learn"):
        check_datasets(seg_config(tmp_path, "maps", "maps", load, **one))


THREE = dict(metainfo=dict(classes=("ground", "thing", "third")))


def test_a_class_that_no_training_map_shows_is_refused(tmp_path: Path) -> None:
    maps(tmp_path, "maps", lambda x: x)
    with pytest.raises(UserError, match=r"none of the 6 segmentation maps of .*maps shows 'third'"):
        check_datasets(seg_config(tmp_path, "maps", "maps", THEIRS, **THREE))


def test_a_class_that_no_validation_map_shows_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    maps(tmp_path, "maps", lambda x: x)
    maps(tmp_path, "all", lambda x: x + np.eye(48, dtype=np.uint8) * (1 - x) * 2)
    check_datasets(seg_config(tmp_path, "all", "maps", THEIRS, **THREE))
    out = capsys.readouterr().out
    assert "val_dataloader: none of 6 segmentation maps" in out
    assert "shows 'third'; mIoU is over the others" in out


def test_a_few_images_chosen_by_indices_need_not_show_every_class(tmp_path: Path) -> None:
    maps(tmp_path, "maps", lambda x: x)
    cfg = seg_config(tmp_path, "maps", "maps", THEIRS, **THREE, indices=4)
    assert check_datasets(cfg)["train_dataloader"] == 4


def test_of_a_large_set_a_sample_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps(tmp_path, "maps", lambda x: x)
    monkeypatch.setattr(class_counts, "MOST", 3)
    cfg = seg_config(tmp_path, "maps", "maps", THEIRS, **THREE)
    assert check_datasets(cfg)["train_dataloader"] == 6  # 'third' may be in the rest


def test_a_palette_that_a_pipeline_reads_as_colours_is_refused(tmp_path: Path) -> None:
    maps(tmp_path, "maps", palette)
    load = dict(THEIRS, imdecode_backend="cv2")
    with pytest.raises(UserError, match=r"LoadAnnotations loads .*0.png otherwise than it is stored"):
        check_datasets(seg_config(tmp_path, "maps", "maps", load))


def test_a_file_that_training_would_skip_is_left_to_it(tmp_path: Path) -> None:
    maps(tmp_path, "maps", lambda x: x)
    maps(tmp_path, "val", lambda x: x)
    (tmp_path / "maps/3.png").write_bytes(b"")
    assert check_datasets(seg_config(tmp_path, "maps", "val", OURS))["train_dataloader"] == 6
    with pytest.raises(
        UserError, match=r"maps/3.png or its image cannot be used: the file is truncated or not"
    ):
        check_datasets(seg_config(tmp_path, "val", "maps", OURS))
    with pytest.raises(
        UserError, match=r"maps/3.png or its image cannot be used: the file is truncated or not"
    ):
        check_datasets(seg_config(tmp_path, "maps", "val", THEIRS))
