"""`mixmae-bench finetune`: a user's data and a checkpoint, from one command to a record."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from made_data import make_coco, make_scene, save, write_coco
from mmengine.config import Config
from safetensors.torch import save_file

from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.cli import main
from mixmae_bench.compat.openmmlab import import_quietly
from mixmae_bench.engine.config import load_config
from mixmae_bench.finetune import recipes
from mixmae_bench.finetune.start import start_of
from mixmae_bench.registry import MODELS
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.suite.execute import run_job
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.workers import Workers
from mixmae_bench.validate.narrow import narrow

TIMM = "test_resnet"
SWIN = dict(embed_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
SMALL = ["--img-size", "64", "--epochs", "1", "--batch-size", "2"]


class Done:
    """A job that was run in this process: starting another one takes as long as all of its work."""

    def __init__(self, job: Job) -> None:
        self.record = run_job(replace(job, threads=1))

    def done(self) -> bool:
        return True

    def result(self) -> Record | None:
        return self.record


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import_quietly()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workers, "submit", lambda self, job, slot: Done(job))
    monkeypatch.setattr(recipes, "load_config", lambda name: narrow(load_config(name)))
    monkeypatch.setattr(recipes, "cores", lambda: 1)  # no processes for loading
    # mmengine formats the config several times per training, a second each.
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **kwargs: (text, True))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(TIMM).state_dict(), path)
    return path


def noise(number: int, shape: tuple[int, ...] = (40, 48, 3)) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def folders(root: Path, counts: dict[str, int]) -> Path:
    """Write class folders with images of several formats: `split/class` (or a class): number of images."""
    for k, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            save(root / folder / f"image {number}.JPG", noise(10 * k + number))
    return root


def scenes(root: Path, change: Callable[[dict], object] | None = None) -> Path:
    content = make_coco(root / "images")
    write_coco(root, "all.json", content, change)
    return root


def maps(root: Path, count: int = 6, factor: int = 1) -> Path:
    for number in range(count):
        labels = make_scene(root / "made", number)
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "made/img" / f"{number}.png").rename(root / "images" / f"ö {number}.png")
        save(root / "masks" / f"ö {number}.png", labels * np.uint8(factor))
    return root


def finetune(task: str, data: Path, checkpoint: object, *more: str) -> int:
    return main(["finetune", task, "--data", str(data), "--checkpoint", str(checkpoint), *more])


def record(folder: Path) -> Record:
    ((found,), complaints) = read_records(folder / "records.jsonl")
    assert complaints == []
    return found


def refusal(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """Return the one line of a command that ends with status 2 and writes nothing."""
    before = sorted(Path.cwd().rglob("*"))
    assert finetune(*arguments) == 2
    err = capsys.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert sorted(Path.cwd().rglob("*")) == before
    return lines[0]


def test_class_folders_are_fine_tuned_from_a_timm_file(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    """Greyscale, 16 bit and alpha too; repeating the command trains nothing again."""
    data = folders(tmp_path / "my data", {"train/kat ü": 3, "train/dog": 3, "val/kat ü": 1, "val/dog": 2})
    save(data / "train/dog/grey.png", noise(1, (40, 48)))
    save(data / "train/dog/deep.png", noise(1, (40, 48)).astype(np.uint16) * 256)
    save(data / "train/dog/alpha.png", noise(1, (40, 48, 4)))
    Path("w.safetensors").write_bytes(weights.read_bytes())
    source = f"timm:{TIMM}@{tmp_path / 'w.safetensors'}"
    assert finetune("classification", data, f"timm:{TIMM}@w.safetensors", *SMALL) == 0
    out = capsys.readouterr().out
    for said in (
        "classes: 2 ('dog', 'kat ü')",
        "images: 9 train, 3 val; 3 to 6 per class",
        "1 greyscale",
        "1 with alpha (ignored)",
        "1 with 16 bits (the high 8 are used)",
        "effective batch: 2 images",
        "schedule: 1 epochs of 4 steps",
        "top-1: ",
    ):
        assert said in out
    folder = tmp_path / "work_dirs" / "finetune-classification-my data"
    made = record(folder)
    assert (made.method, made.task, made.dataset) == ("w", "classification", "my-data")
    assert (made.num_samples, made.checkpoint_filled, made.checkpoint_source) == (3, 100, source)
    assert 0 <= made.metrics["top1"] <= 100
    assert "top1" in made.stderr
    assert re.search(r"result: \S.*epoch_1\.pth; record: ", out)
    assert finetune("classification", data, source, *SMALL) == 0
    assert "1 done, 0 to run" in capsys.readouterr().out
    record(folder)  # still one
    assert main(["push", str(folder), "hub"]) == 0
    assert timm.create_model("local-dir:hub", pretrained=True).num_classes == 2
    for file in ("config.py", "config.json", "README.md"):
        assert str(tmp_path) not in Path("hub", file).read_text()
    assert "corrupt-images.txt" not in Path("hub/config.py").read_text()  # a list of this run
    assert load_config("hub/config.py").train_dataloader.dataset.data_root == "data/my-data"
    assert finetune("classification", data, "local-dir:hub", *SMALL, "--dry-run") == 0


def official_swin(path: Path) -> dict[str, torch.Tensor]:
    """Write a Swin with official names; return it with ours."""
    torch.manual_seed(0)
    swin = MODELS.build(dict(type="mixmae_bench.Swin", arch=SWIN, window_size=2, img_size=64))
    state = swin.state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return state


def test_a_coco_file_is_split_and_a_recognised_checkpoint_is_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Category ids are 7 and 3; without masks on all objects, it is Faster R-CNN."""
    given = tmp_path / "out" / "swin.safetensors"  # beside the config, as the converted one
    state = official_swin(given)
    data = scenes(tmp_path / "scenes", lambda c: c["annotations"][3].pop("segmentation"))
    assert finetune("detection", data, given, *SMALL, "--work-dir", str(tmp_path / "out")) == 0
    out = capsys.readouterr().out
    assert "images: 5 train, 1 val; 12 objects" in out
    assert "masks: 1 of 12 annotations have none, so boxes only (Faster R-CNN)" in out
    assert "Swin fine-tuning (microsoft/SimMIM), official names; converted" in out
    cfg = load_config(tmp_path / "out" / "detection.py")
    assert cfg.model.type == "FasterRCNN"
    assert cfg.model.backbone.type == "mixmae_bench.Swin"
    assert cfg.model.neck.in_channels == [8, 16, 32, 64]
    assert cfg.val_evaluator.type == "mixmae_bench.CocoSubsetMetric"
    made = record(tmp_path / "out")
    assert set(made.metrics) == {"box_ap"}
    assert (made.num_samples, made.checkpoint_filled) == (1, 100)
    assert read_state_dict(given).keys() == state.keys()
    trained = torch.load(next((tmp_path / "out").rglob("epoch_1.pth")), weights_only=False)["state_dict"]
    name = "layers.0.blocks.0.attn.qkv.weight"
    # One epoch of two steps moves the weights by about the learning rate, 1.25e-5.
    torch.testing.assert_close(trained[f"backbone.{name}"], state[name], rtol=0, atol=1e-3)


def test_label_maps_are_split_and_their_classes_counted(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = maps(tmp_path / "maps")
    arguments = [*SMALL, "--backbone", TIMM, "--work-dir", str(tmp_path / "out")]
    assert finetune("segmentation", data, weights, *arguments) == 0
    out = capsys.readouterr().out
    assert "classes: 2 ('class 0', 'class 1'), counted in all 6 maps" in out
    assert "split: no validation images given; 20% are split off, at random (seed 0)" in out
    made = record(tmp_path / "out")
    assert 0 <= made.metrics["miou"] <= 100
    assert made.backbone == f"TimmBackbone-{TIMM}"


def test_the_written_config_is_whole_and_what_is_printed(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    """Objects with masks give Mask R-CNN; lr follows the batch; only what is asked for is written."""
    data = scenes(tmp_path / "scenes")
    source, file = f"timm:{TIMM}@{weights}", tmp_path / "own" / "mine.py"
    assert finetune("detection", data, source, "--write-config", str(file)) == 0
    out = capsys.readouterr().out
    assert {path.name for path in file.parent.iterdir()} == {"mine.py", "mine.yaml"}
    cfg = load_config(file)
    assert cfg.model.type == "MaskRCNN"
    assert cfg.val_evaluator.metric == ["bbox", "segm"]
    assert cfg.model.roi_head.mask_head.num_classes == cfg.model.roi_head.bbox_head.num_classes == 2
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.optim_wrapper.optimizer.lr == 1e-4 * 4 / 16
    assert cfg.train_cfg.max_epochs == 1000  # one step per epoch
    mean = timm.get_pretrained_cfg(TIMM).mean
    assert cfg.model.data_preprocessor.mean == [255 * value for value in mean]
    assert "_base_" not in Config.fromfile(file)
    for line in file.read_text().splitlines()[2:6]:
        assert line.removeprefix("# ") in out
    assert finetune("detection", data, source, "--dry-run") == 0
    assert not (tmp_path / "work_dirs").exists()


def test_an_edited_config_is_not_overwritten(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = folders(tmp_path / "data", {"a": 5, "b": 5})
    command = ("classification", data, f"timm:{TIMM}@{weights}", "--write-config", "c.py")
    assert finetune(*command) == 0
    Path("c.py").write_text(Path("c.py").read_text().replace("weight_decay=0.05", "weight_decay=0.1"))
    assert "c.py exists and differs; train it with `mixmae-bench run c.yaml`" in refusal(capsys, *command)
    assert "weight_decay=0.1" in Path("c.py").read_text()


def test_a_published_scale_keeps_its_length_and_small_data_gets_at_least_1000_steps(
    tmp_path: Path, weights: Path
) -> None:
    data = folders(tmp_path / "data", {"train/a": 20, "train/b": 20, "val/a": 1, "val/b": 1})
    source = f"timm:{TIMM}@{weights}"
    for batch, epochs in (("1", 100), ("20", 500)):
        file = tmp_path / f"{batch}.py"
        more = ("--batch-size", batch, "--write-config", str(file))
        assert finetune("classification", data, source, *more) == 0
        assert load_config(file).train_cfg.max_epochs == epochs


BAD_FOLDERS = [
    ({"train/a": 1, "train/b": 0, "val/a": 1, "val/b": 1}, r"train/b has no image .*remove the folder"),
    ({"train/a": 1, "train/b": 1, "val/a": 1, "val/c": 1}, r"val has the class 'c', which .*train lacks"),
    ({"train/a": 1, "train/b": 1, "val/a": 1}, r"val has no folder 'b', a class of .*create it"),
    ({"val/a": 1, "val/b": 1}, r"has a folder val, but none of training images"),
    ({"train/a": 3, "val/a": 1}, r"train has only the class 'a'; expected"),
    ({"a": 1, "b": 1}, r"has 2 images, too few to split off 20% for validation"),
    ({"a": 5, ".cache": 1}, r"\.cache is a hidden folder and would be a class"),
    ({}, r"has no folder of a class; expected train/CLASS/IMAGE"),
    ({"train/a": 1, "train/b": 1, "val/a": 0, "val/b": 0}, r"val has no image; add images"),
]


@pytest.mark.parametrize(("counts", "said"), BAD_FOLDERS, ids=lambda value: str(value)[:40])
def test_class_folders_that_do_not_fit_are_one_line(
    counts: dict[str, int], said: str, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = folders(tmp_path / "data", counts)
    data.mkdir(exist_ok=True)
    assert re.search(said, refusal(capsys, "classification", data, f"timm:{TIMM}@{weights}"))


def of_unknown_image(content: dict) -> None:
    content["annotations"][2]["image_id"] = 99


def without_a_file(content: dict) -> None:
    content["images"][1]["file_name"] = "gone.png"


def without_categories(content: dict) -> None:
    content.update(categories=[], annotations=[])


BAD_SCENES = [
    (of_unknown_image, r"all.json: annotation 3 is of image 99, which is not listed"),
    (without_a_file, r"all.json names the image gone.png, which is in none of .*images"),
    (without_categories, r"all.json has no categories"),
    (lambda content: content.update(images=[], annotations=[]), r"all.json has no image"),
    (lambda content: content["annotations"][0].pop("area"), r"annotation 1 has no area"),
]


@pytest.mark.parametrize(("change", "said"), BAD_SCENES)
def test_coco_files_that_do_not_fit_are_one_line(
    change: Callable[[dict], object], said: str, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = scenes(tmp_path / "data", change)
    assert re.search(said, refusal(capsys, "detection", data, f"timm:{TIMM}@{weights}"))


def test_several_coco_files_of_a_split_are_one_line(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = scenes(tmp_path / "data")
    (data / "other.json").write_text((data / "all.json").read_text())
    said = refusal(capsys, "detection", data, f"timm:{TIMM}@{weights}")
    assert "has 0 COCO files of train (all.json, other.json); keep one" in said


@pytest.mark.parametrize(
    ("layout", "folder"),
    [
        (
            {"annotations/instances_train2017.json": "", "annotations/captions_train2017.json": ""},
            "train2017",
        ),
        (("train/_annotations.coco.json",), "train"),
        (("train.json",), "images/train"),
    ],
)
def test_known_layouts_of_coco_files_are_found(
    layout: tuple[str, ...], folder: str, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        content = make_coco(data / folder.replace("train", split))
        for name in layout:
            write_coco(data, "x.json", content if "captions" not in name else dict(images=[], annotations=[]))
            (data / name.replace("train", split)).parent.mkdir(parents=True, exist_ok=True)
            (data / "x.json").rename(data / name.replace("train", split))
    assert finetune("detection", data, f"timm:{TIMM}@{weights}", "--dry-run") == 0
    assert "images: 6 train, 6 val; 24 objects" in capsys.readouterr().out


def add_png_maps(root: Path, value: int) -> None:
    labels = make_scene(root / "made", 9)
    labels[0, 0] = value
    (root / "made/img/9.png").rename(root / "images/ö 9.png")
    save(root / "masks/ö 9.png", labels)


def colour(root: Path) -> None:
    save(root / "masks/ö 0.png", noise(0, (48, 48, 3)))


def named(root: Path) -> None:
    add_png_maps(root, 3)
    (root / "classes.txt").write_text("ground\nthing\n")


BAD_MAPS = [
    (lambda root: (root / "masks/ö 2.png").unlink(), r"1 of 6 images have no label map: .*ö 2.png needs"),
    (lambda root: add_png_maps(root, 5), r"have the values 0, 1, 5 \(255 is ignored\)"),
    (colour, r"ö 0.png cannot be used: it has 3 channels"),
    (named, r"ö 9.png cannot be used: it has the value 3; classes end at 1"),
    (lambda root: save(root / "images/x.jpg", noise(0)), r"several endings \(.png: 6, .jpg: 1\)"),
    (lambda root: (root / "masks").rename(root / "truth"), r"has no folder of label maps; expected"),
    (lambda root: (root / "classes.txt").write_text("a\na\n"), r"two or more different names"),
    (lambda root: save(root / "masks/ö 1.png", np.eye(3, dtype=np.uint8)), r"does not fit its map .*3x3"),
]


@pytest.mark.parametrize(("change", "said"), BAD_MAPS)
def test_label_maps_that_do_not_fit_are_one_line(
    change: Callable[[Path], object], said: str, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = maps(tmp_path / "data")
    change(data)
    assert re.search(said, refusal(capsys, "segmentation", data, f"timm:{TIMM}@{weights}"))


def test_maps_of_0_and_255_are_refused_as_255_is_ignored(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = maps(tmp_path / "data", factor=255)
    assert "have the values 0 (255 is ignored)" in refusal(
        capsys, "segmentation", data, f"timm:{TIMM}@{weights}"
    )


def test_a_damaged_image_is_one_line(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture) -> None:
    data = folders(tmp_path / "data", {"a": 5, "b": 5})
    (data / "a/image 1.JPG").write_bytes(b"\xff\xd8 no image")
    said = refusal(capsys, "classification", data, f"timm:{TIMM}@{weights}")
    assert "image 1.JPG cannot be read as an image; repair or remove it" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--batch-size", "40"], r"a batch of 40 on 1 processes needs 40 training images, the data has 8"),
        (["--epochs", "0"], r"--epochs is 0; give a number above 0"),
        (["--lr", "nan"], r"--lr is nan"),
        (["--backbone", TIMM], r"names its backbone already; leave it out"),
        (["--dry-run", "--write-config", "x.py"], r"cannot be used with --dry-run"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    more: list[str], said: str, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    data = folders(tmp_path / "data", {"a": 5, "b": 5})
    assert re.search(said, refusal(capsys, "classification", data, f"timm:{TIMM}@{weights}", *more))


@pytest.mark.parametrize(
    ("checkpoint", "more", "said"),
    [
        ("gone.pth", [], r"checkpoint gone.pth does not exist; give a file, timm:MODEL.TAG"),
        ("own.pth", [], r"is of no known kind; .*for the weights of a model of timm, give --backbone NAME"),
        (
            "own.pth",
            ["--backbone", "resnet-18"],
            r"no model of timm and no config. Did you mean 'resnet18'",
        ),
        (f"timm:{TIMM}@gone.pth", [], r"gone.pth does not exist"),
        ("timm:resnet-18", [], r"timm has no model 'resnet-18'. Did you mean 'resnet18'"),
        ("own.pth", ["--backbone", "resnet18"], r"fills 0.0% of"),
    ],
)
def test_checkpoints_that_do_not_fit_are_one_line(
    checkpoint: str, more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save({"x.weight": torch.zeros(2, 2)}, "own.pth")
    data = folders(tmp_path / "data", {"a": 5, "b": 5})
    assert re.search(said, refusal(capsys, "classification", data, checkpoint, *more))


def test_a_plain_vit_gets_timms_pyramid_in_dense_tasks() -> None:
    backbone = MODELS.build(dict(type="mixmae_bench.PlainViT", arch="base"))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in backbone.state_dict().items()}}, "vit.pth")
    found = start_of("vit.pth", None, dense=True)
    assert found.backbone == dict(type="mixmae_bench.TimmBackbone", model="vit_base_patch16_224")
    assert (
        found.facts[0]
        == "backbone: PlainViT base, as timm's vit_base_patch16_224, which has a feature pyramid"
    )
    assert start_of("vit.pth", None, dense=False).backbone["type"] == "mixmae_bench.PlainViT"


def test_a_json_that_is_no_coco_file_is_one_line(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.json").write_text(json.dumps([1]))
    said = refusal(capsys, "detection", tmp_path / "data", f"timm:{TIMM}@{weights}")
    assert "x.json is no COCO file: it has no list of images" in said
