"""`mixmae-bench evaluate` and `data check` on tiny copies of all layouts, with one tiny classifier."""

import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from rich.console import Console
from timm.data import ImageNetInfo

from mixmae_bench.cli import main
from mixmae_bench.datasets.catalog import CATALOG
from mixmae_bench.datasets.catalog.imagenet_c import CORRUPTIONS, EXTRA
from mixmae_bench.datasets.catalog.imagenet_real import TINY_LABELS
from mixmae_bench.datasets.catalog.imagenet_variants import V2_FOLDER, ImageNetA, ImageNetR
from mixmae_bench.datasets.check_folder import check_data
from mixmae_bench.registry import DATASETS, MODELS
from mixmae_bench.results.robustness import SETS, RobustnessRecord, read_robustness
from mixmae_bench.robustness.classifier import find_classifier
from mixmae_bench.robustness.corruption_error import mce_alexnet

COUNTS = {
    "imagenet-v2": (8, 4),
    "imagenet-real": (3, 4),
    "imagenet-a": (6, 3),
    "imagenet-r": (6, 3),
    "imagenet-sketch": (6, 3),
    "imagenet-c": (3, 3),
}
"""Images and classes in each part of the tiny copies."""

PUBLISHED = {
    "imagenet-v2": (10_000, 1000),
    "imagenet-real": (46_837, 1000),
    "imagenet-a": (7_500, 200),
    "imagenet-r": (30_000, 200),
    "imagenet-sketch": (50_889, 1000),
    "imagenet-c": (50_000, 1000),
}

WORDNET = ImageNetInfo().label_names()

CONFIG = """
default_scope = "mmpretrain"
custom_imports = dict(imports=["mixmae_bench"])
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="mixmae_bench.MixMAESwin",
        arch=dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(4, 4)),
        img_size=32,
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", in_channels=16, num_classes=1000),
)
data_preprocessor = dict(num_classes=1000, mean=[127.5] * 3, std=[64] * 3, to_rgb=True)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mixmae_bench.ImageNet",
        data_root="data/imagenet",
        split="val",
        pipeline=[
            dict(type="mixmae_bench.LoadImage"),
            dict(type="Resize", scale=(32, 32)),
            dict(type="PackInputs"),
        ],
    ),
)
"""


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts of the tiny copies are the published ones."""
    for name, (images, classes) in COUNTS.items():
        parts = tuple(replace(part, images=images, classes=classes) for part in CATALOG[name].parts)
        monkeypatch.setitem(CATALOG, name, replace(CATALOG[name], parts=parts))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny copies of all sets, no image of which is in two of them."""
    root = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(SETS):
        CATALOG[name].make_tiny(root / name, np.random.default_rng(seed))
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a run: its classifier chooses the class of the nearest of one image per class."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.py").write_text(CONFIG)
    cfg = Config.fromfile(folder / "config.py")
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(cfg.model).eval()
    images = {label: path for path, label in reversed([*one_label(data)])}
    features = torch.cat([feature_of(model, cfg, path) for path in images.values()])
    mean = features.mean(0)
    with torch.no_grad():
        model.head.fc.weight.zero_()
        model.head.fc.bias.fill_(-1e4)
        for label, own in zip(images, features - mean, strict=True):  # 100 |f - mean|^2 - 100 |f - image|^2
            model.head.fc.weight[label] = 200 * own
            model.head.fc.bias[label] = -100 * (own @ own + 2 * own @ mean)
    meta = {"dataset_meta": {"classes": WORDNET}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text("/elsewhere/epoch_1.pth")
    return folder


def one_label(data: Path) -> Iterator[tuple[Path, int]]:
    """Yield images with one of their labels."""
    for name in ("imagenet-c/fog/1", "imagenet-a", "imagenet-r", "imagenet-sketch/sketch"):
        yield from ((path, WORDNET.index(path.parent.name)) for path in sorted((data / name).glob("*/*")))
    yield from ((path, int(path.parent.name)) for path in sorted((data / "imagenet-v2").glob("*/*/*")))
    for number, labels in TINY_LABELS.items():
        image = data / f"imagenet-real/val/ILSVRC2012_val_{number:08d}.JPEG"
        yield from ((image, label) for label in labels[-1:])


def inputs_of(cfg: Config, path: Path) -> torch.Tensor:
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        steps = Compose(cfg.val_dataloader.dataset.pipeline)
    return steps(dict(img_path=str(path)))["inputs"][None]


def feature_of(model: torch.nn.Module, cfg: Config, path: Path) -> torch.Tensor:
    pixels = (inputs_of(cfg, path).flip(1).float() - 127.5) / 64  # BGR to RGB
    with torch.no_grad():
        return model.backbone(pixels)[-1].mean((2, 3))


@pytest.fixture(scope="module")
def tops(run: Path) -> Callable[[Sequence[tuple[Path, set[int]]], Sequence[int]], tuple[float, float]]:
    """Return a function of images with right labels and of classes: top-1 and top-5 by brute force, in %."""
    classifier = find_classifier(str(run))
    model = classifier.load()
    weight, bias = (p.double() for p in (model.head.fc.weight, model.head.fc.bias))

    def tops(images: Sequence[tuple[Path, set[int]]], classes: Sequence[int]) -> tuple[float, float]:
        places = []
        for path, labels in images:
            logits = (weight @ feature_of(model, classifier.cfg, path)[0].double() + bias).tolist()
            order = sorted(classes, key=lambda label: -logits[label])
            places.append(min(order.index(label) for label in labels))
        return tuple(100 * sum(place < k for place in places) / len(places) for k in (1, 5))

    return tops


def evaluated(run: Path, data: Path, name: str, out: Path) -> RobustnessRecord:
    assert main(["evaluate", str(run), "--on", name, "--data", str(data), "--out", str(out)]) == 0
    return read_robustness(out)[0][-1]


def in_folders(folder: Path, label_of: Callable[[str], int]) -> list[tuple[Path, set[int]]]:
    return [(path, {label_of(path.parent.name)}) for path in sorted(folder.glob("*/*"))]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("name", ["imagenet-v2", "imagenet-a", "imagenet-r", "imagenet-sketch"])
def test_accuracies_on_class_folders_are_those_of_brute_force(
    name: str, run: Path, data: Path, tops, tmp_path: Path
) -> None:
    found = evaluated(run, data, name, tmp_path / "out.jsonl")
    folder = next(
        path for path in (data / name / V2_FOLDER, data / name / "sketch", data / name) if path.exists()
    )
    images = in_folders(folder, int if name == "imagenet-v2" else WORDNET.index)
    subset = {"imagenet-a": ImageNetA, "imagenet-r": ImageNetR}.get(name)
    classes = range(1000)
    if subset:
        own = subset(data_root=str(folder)).label_of
        classes = sorted(own.values())
    assert (
        (found.num_samples, found.classes) == (len(images), len(classes)) == (COUNTS[name][0], len(classes))
    )
    assert (found.metrics["top1"], found.metrics["top5"]) == pytest.approx(tops(images, classes), abs=1e-3)
    p = found.metrics["top1"]
    assert found.stderr["top1"] == pytest.approx((p * (100 - p) / len(images)) ** 0.5, abs=1e-3)
    if subset:
        assert tops(images, range(1000)) != tops(images, classes)


def test_labels_of_imagenet_v2_are_the_numbers_of_the_folders(data: Path) -> None:
    layout = CATALOG["imagenet-v2"].parts[0].layout_in(data / "imagenet-v2")
    dataset = DATASETS.build(dict(layout, pipeline=[]))
    items = [dataset.get_data_info(number) for number in range(len(dataset))]
    assert {(Path(item["img_path"]).parent.name, item["gt_label"]) for item in items} == {
        *(("0", 0), ("2", 2), ("10", 10), ("999", 999))
    }


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("place", ["imagenet-real/val", "imagenet/val/n01440764"])
def test_real_counts_any_of_the_labels_of_an_image(
    place: str, run: Path, data: Path, tops, tmp_path: Path
) -> None:
    (tmp_path / "imagenet-real").mkdir()
    shutil.copy(data / "imagenet-real/real.json", tmp_path / "imagenet-real")
    shutil.copytree(data / "imagenet-real/val", tmp_path / place)
    found = evaluated(run, tmp_path, "imagenet-real", tmp_path / "out.jsonl")
    images = [
        (tmp_path / place / f"ILSVRC2012_val_{number:08d}.JPEG", {*labels})
        for number, labels in TINY_LABELS.items()
        if labels
    ]
    assert found.num_samples == 3
    assert found.metrics == {"top1": pytest.approx(tops(images, range(1000))[0], abs=1e-3)}
    assert found.metrics["top1"] > 0


@pytest.mark.usefixtures("published")
def test_corruptions_have_an_error_per_severity_and_both_means(
    run: Path, data: Path, tops, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    found = evaluated(run, data, "imagenet-c", tmp_path / "out.jsonl")
    for name in ("fog", EXTRA[0]):
        folders = [data / "imagenet-c" / name / str(n) for n in range(1, 6)]
        expected = [100 - tops(in_folders(folder, WORDNET.index), range(1000))[0] for folder in folders]
        assert len({*expected}) > 1
        assert found.errors[name] == pytest.approx(expected, abs=1e-3)
    assert [*found.errors] == [*sorted((*CORRUPTIONS, EXTRA[0]))]  # JSON lines have sorted keys
    own = [error for name in CORRUPTIONS for error in found.errors[name]]
    assert found.metrics["mean_error"] == pytest.approx(sum(own) / 75, abs=1e-3)
    assert found.metrics["mce_alexnet"] == pytest.approx(mce_alexnet(found.errors), abs=1e-3)
    assert found.num_samples == 75 * 3
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("imagenet-c")]
    assert row.split()[-2:] == [f"{found.metrics[name]:.2f}" for name in ("mean_error", "mce_alexnet")]


@pytest.mark.usefixtures("published")
def test_what_is_recorded_is_not_evaluated_again_and_all_sets_are_printed(
    run: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["evaluate", str(run), "--data", str(data), "--on"]
    assert main([*command, "imagenet-a"]) == 0
    assert main([*command, "imagenet-v2,imagenet-a"]) == 0
    printed, told = capsys.readouterr()
    rows = [line.split()[0] for line in printed.splitlines() if line.startswith("imagenet-")]
    assert rows == ["imagenet-a", "imagenet-a", "imagenet-v2"]
    assert told.count("imagenet-a: 6/6") == told.count("imagenet-v2: 8/8") == 1
    records, complaints = read_robustness(run / "robustness.jsonl")
    assert complaints == []
    assert [record.dataset for record in records] == ["imagenet-a", "imagenet-v2"]
    first = records[0]
    assert (first.precision, first.image_shape, first.device) == ("float32", [32, 32], find_device())
    assert len({record.checkpoint for record in records}) == 1
    assert records[0].data_hash != records[1].data_hash
    (run / "robustness.jsonl").unlink()


@pytest.mark.usefixtures("published")
def test_the_precision_of_validation_is_used_and_recorded(run: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(f"{CONFIG}val_cfg = dict(fp16=True)\n")
    out = tmp_path / "out.jsonl"
    command = ["evaluate", tmp_path / "half.py", "--checkpoint", run, "--on", "imagenet-v2", "--data", data]
    assert main([*map(str, command), "--out", str(out)]) == 0
    (found,) = read_robustness(out)[0]
    assert found.precision == {"cpu": "bfloat16", "cuda": "float16"}[found.device]


def find_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("name", SETS)
def test_data_check_finds_no_problem_in_a_whole_layout(name: str, data: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    found = check_data(name, data / name, False, tmp_path / "problems.txt", Console(file=out, width=100))
    assert found == 0, out.getvalue()


@pytest.mark.parametrize("name", SETS)
def test_data_check_compares_with_the_published_counts(name: str, data: Path, tmp_path: Path) -> None:
    parts = [part for part in CATALOG[name].parts if not part.optional]
    assert {(part.images, part.classes) for part in parts} == {PUBLISHED[name]}
    assert len(parts) == (75 if name == "imagenet-c" else 1)
    check_data(name, data / name, True, tmp_path / "problems.txt", Console(file=io.StringIO()))
    problems = (tmp_path / "problems.txt").read_text()
    for part in parts:
        for what, own, known in zip(("images", "classes"), COUNTS[name], PUBLISHED[name], strict=True):
            assert f"{part.name}: {own:,} {what}, {known:,} are published\n" in problems


def rename(folder: str, name: str) -> Callable[[Path], object]:
    return lambda root: (root / folder).rename((root / folder).with_name(name))


def remove(folder: str) -> Callable[[Path], object]:
    return lambda root: shutil.rmtree(root / folder)


def move_images(folder: str, to: str) -> Callable[[Path], object]:
    return lambda root: [path.rename(root / to / f"x{path.name}") for path in (root / folder).iterdir()]


def relabel(labels: object, place: int | None = None) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        file = root / "real.json"
        content = json.loads(file.read_text())
        if place is not None:
            content[place] = labels
        file.write_text(json.dumps(labels if place is None else content))

    return write


WRONG: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a WordNet folder in V2": (
        "imagenet-v2",
        rename(f"{V2_FOLDER}/10", "n01440764"),
        "n01440764 is no class of ImageNet-V2",
    ),
    "a padded folder in V2": (
        "imagenet-v2",
        rename(f"{V2_FOLDER}/10", "010"),
        "010 is no class of ImageNet-V2",
    ),
    "a folder 1000 in V2": (
        "imagenet-v2",
        rename(f"{V2_FOLDER}/999", "1000"),
        "1000 is no class of ImageNet-V2",
    ),
    "V2 without its folder": ("imagenet-v2", rename(V2_FOLDER, "v2"), "format-val does not exist"),
    "a class outside of A": (
        "imagenet-a",
        rename("n01498041", "n01440764"),
        "n01440764 is no class of ImageNet-A",
    ),
    "a class outside of R": (
        "imagenet-r",
        rename("n01443537", "n01440764"),
        "n01440764 is no class of ImageNet-R",
    ),
    "a missing class of A": ("imagenet-a", remove("n01498041"), "4 images, 6 are published"),
    "an empty class of R": (
        "imagenet-r",
        move_images("n01443537", "n01484850"),
        "2 classes, 3 are published",
    ),
    "an unknown class of Sketch": (
        "imagenet-sketch",
        rename("sketch/n02099601", "n00000000"),
        "n00000000 is no class of",
    ),
    "an unknown class of C": (
        "imagenet-c",
        rename("fog/3/n02099601", "dog"),
        "fog/3/dog is no class of ImageNet-1K",
    ),
    "a missing corruption": ("imagenet-c", remove("fog"), "imagenet-c/fog/1 does not exist"),
    "a missing severity": ("imagenet-c", remove("fog/4"), "imagenet-c/fog/4 does not exist"),
    "too few labels": (
        "imagenet-real",
        relabel([[0]] * 10),
        "has 10 images; it must list the labels of all 50000",
    ),
    "no list of labels": ("imagenet-real", relabel({"1": [0]}), "has no list of images"),
    "a label 1000": ("imagenet-real", relabel([1000], 2), "has [1000] for ILSVRC2012_val_00000003; it must"),
    "a negative label": ("imagenet-real", relabel([-1], 2), "has [-1] for ILSVRC2012_val_00000003"),
    "a name as label": ("imagenet-real", relabel(["dog"], 0), "has ['dog'] for ILSVRC2012_val_00000001"),
    "a label in no list": ("imagenet-real", relabel(7, 0), "has 7 for ILSVRC2012_val_00000001"),
    "labels that are no JSON": (
        "imagenet-real",
        lambda root: (root / "real.json").write_text("[[1],"),
        "real.json is not JSON",
    ),
    "no labels": ("imagenet-real", lambda root: (root / "real.json").unlink(), "real.json does not exist"),
    "an image above 50000": (
        "imagenet-real",
        rename("val/ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00050001.JPEG"),
        "ILSVRC2012_val_00050001.JPEG is no validation image",
    ),
    "no folder": ("imagenet-a", shutil.rmtree, "imagenet-a does not exist; put imagenet-a there"),
}
"""Set, damage of its folder, and the message."""


def mistaken(arguments: Sequence[object], capsys: pytest.CaptureFixture) -> str:
    """Return the only line of a command that fails before any work."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [
        line for line in err.splitlines() if line != "starting" and not line.startswith("checking the files")
    ]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("what", WRONG)
def test_wrong_data_are_one_line(
    what: str, run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    name, damage, message = WRONG[what]
    shutil.copytree(data / name, tmp_path / name)
    damage(tmp_path / name)
    out = tmp_path / "out.jsonl"
    assert message in mistaken([run, "--on", name, "--data", tmp_path, "--out", out], capsys)
    assert not out.exists()


def test_data_of_another_size_than_published_are_one_line(
    run: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    error = mistaken([run, "--on", "imagenet-a", "--data", data], capsys)
    assert "6 images, 7,500 are published" in error
    assert f"mixmae-bench data check imagenet-a {data / 'imagenet-a'}" in error


def changed(folder: Path, old: str, new: str) -> Path:
    assert old in CONFIG
    (folder / "other.py").write_text(CONFIG.replace(old, new))
    return folder / "other.py"


def with_classes(run: Path, path: Path, classes: list[str]) -> Path:
    content = torch.load(run / "epoch_1.pth")
    content["meta"]["dataset_meta"]["classes"] = classes
    torch.save(content, path)
    return path


MISTAKES: dict[str, tuple[Callable[[Path, Path], list[object]], str]] = {
    "a set": (lambda run, _: [run, "--on", "imagenet-v2,imagenet-b"], "--on has 'imagenet-b'; known: "),
    "no weights": (lambda run, _: [run / "config.py"], "give the classifier's with --checkpoint"),
    "missing weights": (lambda run, _: [run / "config.py", "--checkpoint", "no"], "no does not exist"),
    "a head of another size": (
        lambda run, tmp: [changed(tmp, "=16, num_classes=1000", "=16, num_classes=100"), "--checkpoint", run],
        "model.head.num_classes is 100; give a classifier of the 1000 classes of ImageNet-1K",
    ),
    "no classifier": (lambda *_: ["mixmae_mixmae-swin-small_1xb32-12e_digits"], "model.head.num_classes is"),
    "another architecture": (
        lambda run, tmp: [changed(tmp, "embed_dim=8", "embed_dim=16"), "--checkpoint", run],
        "does not fit this config's model",
    ),
    "another order of classes": (
        lambda run, tmp: [run, "--checkpoint", with_classes(run, tmp / "a.pth", WORDNET[::-1])],
        "are not those of ImageNet-1K in the order of WordNet IDs",
    ),
    "a folder as output": (lambda run, tmp: [run, "--out", tmp], "is a folder; give a file"),
}
"""Arguments besides --on, and the message."""


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line(what: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments, message = MISTAKES[what]
    assert message in mistaken(["--on", "imagenet-a", *arguments(run, tmp_path)], capsys)
