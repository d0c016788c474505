"""The dry run: what a suite takes, by hand and from configs alone."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mixmae_bench.cli import main
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.report.make import read_results
from mixmae_bench.suite.estimate import _images, estimate, of_count
from mixmae_bench.suite.gpu_speed import gpu_speed
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.system.shipped import find_config

ROOT = Path(__file__).parents[2]
OFFICIAL = json.loads((ROOT / "tests" / "reference" / "sizes.json").read_text())["models"]


def suite_of(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(f"name: test\nversion: 1\nseeds: [0]\n{text.replace('CONFIGS', str(ROOT / 'configs'))}")
    return path


def test_paper_runs_by_hand(tmp_path: Path) -> None:
    path = suite_of(
        tmp_path,
        "methods: {mixmae: {pretrain: CONFIGS/pretrain/mixmae_swin-b-w14_16xb128-600e_in1k.py, tasks: {"
        "in1k: CONFIGS/classification/mixmae_swin-b-w14_8xb128-100e_in1k.py, "
        "linear: CONFIGS/classification/mixmae_swin-b-w14_8xb2048-linear-90e_in1k.py}}}",
    )
    pretraining, tuning, probe = estimate(read_suite(path))
    assert pretraining.flops == OFFICIAL["mixmae_pre:mixmim_base"]["flops"]
    assert tuning.flops == probe.flops == OFFICIAL["mixmae_ft:mixmim_base"]["flops"]
    assert [item.trained for item in (pretraining, tuning, probe)] == [1_281_167 * n for n in (600, 100, 90)]
    assert [item.evaluated for item in (pretraining, tuning, probe)] == [0, 10 * 50_000, 9 * 50_000]
    assert [item.passes for item in (pretraining, tuning, probe)] == [3, 3, 1]  # a probe's backbone is frozen
    assert [item.gpus for item in (pretraining, tuning, probe)] == [16, 8, 8]
    assert tuning.total == tuning.flops * (3 * tuning.trained + tuning.evaluated)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("segmentation/upernet_mixmae_swin-b-w14_8xb2-160k_ade20k-512px", (160_000 * 16, 10 * 2000)),
        ("detection/mask-rcnn_mixmae_swin-b-w14_8xb2-lsj-3x_coco", (36 * 118_287, 3 * 5000)),
        ("classification/mixmae_swin-b-w14_8xb64-200e_in1k-1pct", (200 * 12_811, 20 * 50_000)),
        ("pretrain/mixmae_mixmae-swin-small_1xb32-12e_digits", (12 * 4000, 0)),
        ("classification/mixmae-swin-small_1xb50-40e_digits", (40 * 500, 800)),
    ],
)
def test_images_of_iterations_wrapped_sets_shares_and_digits(config: str, expected: tuple[int, int]) -> None:
    assert _images(load_config(ROOT / "configs" / f"{config}.py")) == expected


def test_data_of_unknown_size_is_named() -> None:
    cfg = load_config(ROOT / "configs" / "classification" / "mixmae-swin-small_1xb50-40e_digits.py")
    cfg.train_dataloader.dataset.data_root = "data/mine"
    with pytest.raises(UserError, match=r"the number of images of data/mine is not known; .*data/imagenet"):
        _images(cfg)
    with pytest.raises(UserError, match=r"the number of images of data/imagenet/meta/mine.txt is not known"):
        _images(on_imagenet(dict(data_prefix="train", ann_file="meta/mine.txt")))


def on_imagenet(train: dict) -> Config:
    train, val = ({"data_root": "data/imagenet", **own} for own in (train, dict(split="val")))
    loaders = dict(train_dataloader=dict(dataset=train), val_dataloader=dict(dataset=val))
    return Config(dict(train_cfg=dict(max_epochs=10, val_interval=5), **loaders))


def test_repeated_and_joined_data_sets_count_as_often_as_they_are_read() -> None:
    train = dict(data_root="data/imagenet", split="train")
    few = dict(data_root="data/coco", ann_file="annotations/instances_val2017.json")
    joined = dict(datasets=[dict(times=2, dataset=train), {**train, "indices": 100}, few])
    assert _images(on_imagenet(joined)) == (10 * (2 * 1_281_167 + 100 + 5_000), 2 * 50_000)


def test_a_dry_run_needs_no_data_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MIXMAE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.chdir(tmp_path)
    suite = str(ROOT / "configs" / "suites" / "digits.yaml")
    options = ["--methods", "scratch", "--seeds", "0,1"]
    assert main(["run", suite, "--dry-run", "--flops-per-s", "1e6", *options]) == 0
    out = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    rows = [line.split() for line in out.splitlines() if line.split()[:1] == ["scratch"]]
    assert [row[1] for row in rows] == 2 * ["classification", "detection", "segmentation"]
    tuning, results = (sum(float(row[-2].replace(",", "")) for row in part) for part in (rows[:3], rows[3:]))
    total = float(out.split("2 seeds: ")[1].split(" GPU hours")[0].replace(",", ""))
    # A row of results is one seed, a row of tuning is all its points; sums are all.
    assert total == pytest.approx(tuning + 2 * results, rel=0.01)
    assert "1e+06 multiply-adds per second" in out


def test_measured_speeds_and_memory_are_used_where_a_config_has_a_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    options = ["--methods", "mixmae", "--gpu", "H100"]
    assert main(["run", "controlled", "--dry-run", *options]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[1]: line.split() for line in out.splitlines() if line.split()[:1] == ["mixmae"]}
    step = gpu_speed("H100").step(Path("mixmae_swin-b-w14_16xb128-300e_in1k"))
    hours = 300 * 1_281_167 / step.images_per_s / 3600
    *_, gpu_hours, _, memory, _, batch = rows["pretraining"]
    assert float(gpu_hours.replace(",", "")) == pytest.approx(hours, rel=0.01)
    assert (float(memory), int(batch)) == (round(step.peak_memory_mb / 1000, 1), step.batch)
    assert "at" in rows["coco"]
    assert "at" not in rows["ade20k"]
    assert f"GPU hours on {step.hardware['gpu']}. Hours in rows with memory" in out
    assert main(["run", "controlled", *options]) == 2
    assert "--gpu" in capsys.readouterr().err


def test_a_speed_without_a_dry_run_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert main(["run", str(ROOT / "configs" / "suites" / "digits.yaml"), "--flops-per-s", "1e14"]) == 2
    assert "--flops-per-s requires --dry-run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "config",
    [
        "mixmae_swin-b-w14_8xb128-100e_in1k",
        "mixmae_swin-b-w14_8xb2048-linear-90e_in1k",  # a frozen backbone
        "mixmae_swin-h-w14_32xb32-100e_in1k",  # activations are recomputed
    ],
)
def test_the_record_of_a_config_gives_the_estimate_of_its_model(config: str, tmp_path: Path) -> None:
    path = find_config(config)
    suite = suite_of(tmp_path, f"methods: {{scratch: {{tasks: {{in1k: {path}}}}}}}")
    (built,) = estimate(read_suite(suite))
    recorded = of_count(path, next(c for c in read_results().counts if c.model.endswith(f"/{config}.py")))
    for name in ("total", "trained", "evaluated", "passes", "gpus"):
        assert getattr(recorded, name) == getattr(built, name)
    assert recorded.hours(gpu_speed()) == built.hours(gpu_speed())
