"""`mixmae-bench probe` on the embedded digits, with a tiny backbone of random weights."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from report_records import record

from mixmae_bench.cli import main
from mixmae_bench.probes import cache, ladder
from mixmae_bench.probes.attentive import EfficientProbe
from mixmae_bench.probes.heads import build_head
from mixmae_bench.probes.kinds import KINDS
from mixmae_bench.registry import MODELS
from mixmae_bench.results.probes import PROBES, read_probes
from mixmae_bench.results.record import append_record

CONFIG = Path(__file__).parents[2] / "configs/classification/mixmae-swin-small_1xb50-40e_digits.py"
ARCH = dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(4, 4))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config of 200 training and 80 validation images, short grids, and an empty cache and folder."""
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for name, kind in KINDS.items():
        monkeypatch.setitem(KINDS, name, dataclasses.replace(kind, grid=kind.grid[2:4]))
    return write_config(tmp_path / "config.py", [i for i in range(500) if i % 5 < 2], [*range(0, 800, 10)])


def write_config(path: Path, train: list[int], val: list[int]) -> Path:
    path.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        f"model = dict(backbone=dict(arch=dict({ARCH}, _delete_=True)), head=dict(in_channels=16))\n"
        f"train_dataloader = dict(dataset=dict(indices={train}))\n"
        f"val_dataloader = dict(dataset=dict(indices={val}))\n"
    )
    return path


def checkpoint(path: Path, *, arch: dict = ARCH) -> Path:
    torch.manual_seed(7)
    backbone = MODELS.build(dict(type="mixmae_bench.MixMAESwin", arch=arch, img_size=32))
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in backbone.state_dict().items()}}, path)
    return path


def test_all_probes_on_all_stages_are_measured_recorded_and_printed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = config.parent / "records/probes.jsonl"
    command = ["probe", str(config), "--seeds", "0,3", "--epochs", "2", "--out", str(out)]
    assert main(command) == 0
    printed, told = capsys.readouterr()
    assert "Probes of mixmae_bench.MixMAESwin, random weights, on digits at 32x32 px: top-1, %" in printed
    lines = printed.splitlines()
    for probe in PROBES:
        (line,) = [line for line in lines if line.startswith(f"{probe} ")]
        assert line.count("±") == 3
    assert "54/54 efficient, all stages, seed 3: top-1 " in told
    assert " left\n" in told

    records, complaints = read_probes(out)
    assert complaints == []
    assert len({record.key for record in records}) == len(records) == 54
    assert {record.stage for record in records} == {"1", "2", "all"}
    assert {record.train_samples for record in records if record.probe == "logistic-5shot"} == {50}
    assert {record.train_samples for record in records if record.probe == "logistic"} == {200}
    assert {record.num_samples for record in records} == {80}
    weights = {record.seed: record.weights for record in records}
    assert weights[0] != weights[3]
    (efficient,) = [r for r in records if (r.probe, r.stage, r.seed) == ("efficient", "all", 0)]
    head = build_head(EfficientProbe, 24, 10)
    assert efficient.probe_params == sum(p.numel() for p in head.parameters())
    assert efficient.probe_flops == head[0].flops(16) + 24 * 10
    assert (efficient.channels, efficient.tokens, efficient.setting) == (24, 16, "lr")
    assert efficient.chosen in [value for value, _ in efficient.tuning]


def test_what_is_recorded_is_not_measured_again(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = config.parent / "probes.jsonl"
    command = [
        "probe",
        str(config),
        "--probes",
        "knn,linear",
        "--stages",
        "last",
        "--seeds",
        "0",
        "--epochs",
        "2",
    ]
    command += ["--out", str(out)]
    assert main(command) == 0
    before, (printed, _) = out.read_bytes(), capsys.readouterr()
    measured: list[str] = []
    measure = ladder.measure
    monkeypatch.setattr(ladder, "measure", lambda step, *a: measured.append(step.probe) or measure(step, *a))
    assert main(command) == 0
    assert (out.read_bytes(), capsys.readouterr()[0], measured) == (before, printed, [])
    assert main([*command, "--epochs", "3"]) == 0  # no setting of nearest neighbours
    assert measured == ["linear"]


def test_a_checkpoint_and_the_folder_of_a_run_are_the_same_weights(config: Path) -> None:
    run = config.parent / "run"
    run.mkdir()
    own = checkpoint(run / "epoch_1.pth")
    (run / "last_checkpoint").write_text("/elsewhere/epoch_1.pth")
    (run / "config.py").write_text(config.read_text())
    for number, source in enumerate(([config, "--checkpoint", own], [config, "--checkpoint", run], [run])):
        out = config.parent / f"{number}.jsonl"
        chosen = ["--probes", "knn", "--stages", "2", "--seeds", "0", "--data", "digits", "--out", out]
        assert main(["probe", *map(str, [*source, *chosen])]) == 0
    records = [json.loads((config.parent / f"{n}.jsonl").read_text()) for n in range(3)]
    for name in ("weights", "checkpoint", "metrics", "initialisation", "checkpoint_filled"):
        assert records[0][name] == records[1][name] == records[2][name]
    assert records[0]["checkpoint_filled"] == 100.0
    assert (records[0]["initialisation"], records[0]["train_samples"]) == ("checkpoint", 500)


def write_suite(config: Path) -> Path:
    path = config.parent / "suite.yaml"
    path.write_text(
        "name: s\nversion: 4\ndataset: digits\nseeds: [0]\nmethods:\n  scratch:\n"
        f"  simmim: {{pretrain: {config}}}\n  file: {{checkpoint: file.pth}}\n"
        f"tasks: {{classification: {config}}}\n"
    )
    checkpoint(config.parent / "file.pth")
    return path


def test_the_initial_weights_of_a_suite_are_probed_and_its_tables_show_them(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, work = write_suite(config), config.parent / "work_dirs/s"
    folder = work / "simmim/seed0/pretraining"
    folder.mkdir(parents=True)
    checkpoint(folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text("epoch_1.pth")
    methods = ("scratch", "simmim", "file")
    for number, method in enumerate(methods):
        done = dict(suite="s", suite_version=4, seed=0)
        if method == "simmim":
            pretraining = replace(record(method, 0, loss=1.0), **done)
            append_record(work / "records.jsonl", pretraining)
            note = {"key": pretraining.key, "identity": {}}
            (folder / "identity.json").write_text(json.dumps(note))
        append_record(work / "records.jsonl", replace(record(method, 0, top1=50.0 + number), **done))
    command = ["probe", str(suite), "--probes", "knn,logistic-1shot", "--stages", "last,all"]
    assert main(command) == 0
    printed, told = capsys.readouterr()
    assert "2/3 simmim, seed 0\n" in told
    found = {(r.method, r.probe, r.stage): r for r in read_probes(work / "probes.jsonl")[0]}
    assert len(found) == 12
    assert {r.owner for r in found.values()} == {("s", 4, method) for method in methods}
    assert {m: found[m, "knn", "2"].initialisation for m in methods} == {
        "scratch": "random",
        "simmim": "checkpoint",
        "file": "checkpoint",
    }
    # The two checkpoints have the same content.
    assert found["simmim", "knn", "all"].metrics == found["file", "knn", "all"].metrics
    (line,) = [own for own in printed.splitlines() if own.split()[:1] == ["scratch"] and "all stages" in own]
    assert f"{found['scratch', 'knn', 'all'].metrics['top1']:.2f}" in line

    (folder / "identity.json").write_text(json.dumps({**note, "key": "of another pretraining"}))
    assert main(command) == 2
    assert "no finished pretraining with a record of version 4" in capsys.readouterr().err
    (folder / "identity.json").write_text(json.dumps(note))

    before = (work / "probes.jsonl").read_bytes()
    assert main(command) == 0
    assert ((work / "probes.jsonl").read_bytes(), capsys.readouterr().out) == (before, printed)
    assert main(["report", str(suite)]) == 0
    page = (work / "report.html").read_text()
    assert "Probes on digits" in page
    assert "What predicts fine-tuning" in page
    assert "3 methods, 3 pairs of runs" in page


MISTAKES = {
    "a probe": (["CONFIG", "--probes", "knn,lineer"], "Did you mean 'linear'?"),
    "a stage": (["CONFIG", "--stages", "3"], "--stages has '3'; this backbone has 1, 2, last, all"),
    "seeds": (["CONFIG", "--seeds", "a"], "--seeds is 'a'; give integers separated by commas"),
    "one seed twice": (["CONFIG", "--seeds", "1,1"], "--seeds different integers"),
    "epochs": (["CONFIG", "--epochs", "0"], "--epochs must be 1 or more"),
    "a config": (["confg.py"], "Did you mean 'config.py'?"),
    "data": (["CONFIG", "--data", "nowhere"], "nowhere/classification"),
    "a checkpoint": (["CONFIG", "--checkpoint", "no.pth"], "checkpoint no.pth does not exist"),
    "a checkpoint of another architecture": (
        ["CONFIG", "--checkpoint", "other.pth"],
        "at least 99% is needed",
    ),
    "a folder": ([".", "--data", "digits"], "no intact checkpoint"),
    "a file": (["CONFIG", "--out", "."], "--out . is a folder; give a file"),
    "a pretraining config": (
        ["mixmae_mixmae-swin-small_1xb32-12e_digits"],
        "has no 'val_dataloader.dataset'; give a classification config",
    ),
    "a checkpoint of a suite": (["suite.yaml", "--checkpoint", "a.pth"], "cannot be given with a suite"),
    "a suite that has not pretrained": (
        ["suite.yaml"],
        "work_dirs/s/simmim/seed0/pretraining has no finished pretraining with a record of version 4",
    ),
    "a folder of no suite": (["CONFIG", "--work-dir", "w"], "--work-dir belongs to a suite"),
    "more shots than images": (
        ["CONFIG", "--probes", "logistic-10shot", "--data", "tiny"],
        "class '0' has 2 training images outside of the split for hyperparameters, and 10 shots need 10",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_before_any_feature_is_computed(
    what: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = MISTAKES[what]
    if "other.pth" in arguments:
        checkpoint(config.parent / "other.pth", arch=dict(ARCH, embed_dim=16))
    if "suite.yaml" in arguments:
        write_suite(config)
    if "tiny" in arguments:
        write_config(config, [*range(30)], [*range(30)])
        make_tiny(config.parent / "tiny")
    assert main(["probe", *(str(config) if own == "CONFIG" else own for own in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.removeprefix("starting\n").count("\n") == 1
    assert err.removeprefix("starting\n").startswith("error: ")
    assert not (config.parent / "cache").exists()


def make_tiny(root: Path) -> None:
    """Write three training and three validation images of every digit, in the layout of the digits."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for label in range(10):
            folder = root / "classification" / split / str(label)
            folder.mkdir(parents=True)
            for number in range(3):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                    folder / f"{number}.png"
                )
