"""Timing models in turn: what is measured, by real processes on models of a moment."""

import json
import re
from pathlib import Path

import pytest
from torch import nn

from mixmae_bench.cli import main
from mixmae_bench.cost.speed import Speed
from mixmae_bench.cost.steps import Setting, Steps

MIXMAE = """
model = dict(
    type='mixmae_bench.MixMAE',
    backbone=dict(
        type='mixmae_bench.MixMAESwin',
        arch=dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(8, 4)),
        img_size=32,
    ),
    decoder=dict(dim=8, depth=1, num_heads=1),
)
"""
CLASSIFIER = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=64, loss=dict(type='CrossEntropyLoss')),
)
"""


@pytest.fixture(autouse=True)
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mixmae.py").write_text(MIXMAE, encoding="utf-8")
    Path("classifier.py").write_text(CLASSIFIER, encoding="utf-8")


def setting(model: str, **changes: object) -> Setting:
    settings = dict(
        model=model,
        dtype="float32",
        batch=2,
        shape=(32, 32),
        inference=False,
        compile=False,
        graph=False,
        device="cpu",
        threads=1,
    )
    return Setting(**{**settings, **changes})


DETECTOR = "mask-rcnn_mixmae-swin-small_1xb8-24e_digits"
SEGMENTOR = "upernet_mixmae-swin-small_1xb32-12e_digits"


@pytest.mark.parametrize("model", ["mixmae.py", "classifier.py", "timm:resnet10t", DETECTOR, SEGMENTOR])
def test_a_training_step_changes_the_weights(model: str) -> None:
    steps = Steps(setting(model, shape=(64, 64) if model in (DETECTOR, SEGMENTOR) else (32, 32)))
    before = [p.detach().clone() for p in steps._optimizer.param_groups[0]["params"]]
    assert steps.run()[0] > 0
    changed = [
        (p != b).any() for p, b in zip(steps._optimizer.param_groups[0]["params"], before, strict=True)
    ]
    assert sum(changed) > 0.5 * len(changed)  # timm starts some at zero
    assert steps.matmul_speed() > 1e8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_inference_step_keeps_no_gradients(dtype: str) -> None:
    steps = Steps(setting("timm:resnet10t", inference=True, dtype=dtype))
    steps.run()
    assert not hasattr(steps, "_optimizer")
    assert 0 <= steps.peak_memory() < 2**31


def test_a_detectors_inference_covers_its_heads_for_every_image() -> None:
    steps = Steps(setting(DETECTOR, inference=True, shape=(64, 64)))
    seen = []
    patches = [patch.cell_contents for patch in steps._forward.func.__closure__]
    detector = next(patch for patch in patches if isinstance(patch, nn.Module))
    detector.roi_head.bbox_head.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    steps.run()
    assert seen == [2 * 50]  # proposals of two images


def test_models_are_measured_in_turn_and_recorded(capsys: pytest.CaptureFixture) -> None:
    models = ["mixmae.py@float32", "classifier.py@bfloat16"]
    options = ["--batch", "2", "--shape", "32", "32", "--steps", "3", "--warm-up", "1", "--device", "cpu"]
    assert main(["speed", *models, *options, "--record", "speed.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "1  mixmae, 32x32 px" in out
    assert "training steps, batch 2, " in out
    assert re.search(r"1 +float32 .* 1\.00 ", out)
    first, second = (Speed(**json.loads(line)) for line in Path("speed.jsonl").read_text().splitlines())
    assert (first.model, first.dtype, first.steps) == ("mixmae.py", "float32", 3)
    assert (second.model, second.dtype, second.step) == ("classifier.py", "bfloat16", "training")
    for speed in (first, second):
        assert 0 < speed.slowest <= speed.images_per_s <= speed.fastest
        assert speed.utilisation > 0
        assert speed.peak_memory_mb > 0
    assert first.utilisation < 1  # bfloat16 may be emulated, each operation at a pace of its own


FATAL = """
import os, signal
import torch
from torch import nn


class Fatal(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.at, self.steps = at, 0
        self.layer = nn.Linear(3, 4)
        if at == "constructor":
            os.kill(os.getpid(), signal.SIGKILL)

    def forward(self, images):
        self.steps += images.device.type == "cpu"
        if self.at == "second step" and self.steps == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.at == "memory" and self.steps == 1:
            torch.empty(10**15)
        return self.layer(images.mean((2, 3)))
"""


def test_models_that_fail_or_take_their_process_down_are_named_and_the_others_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "fatal.py").write_text(FATAL, encoding="utf-8")
    for at in ("constructor", "second step", "memory", "never"):
        config = f"custom_imports = dict(imports=['fatal'])\nmodel = dict(type='fatal.Fatal', at={at!r})\n"
        (tmp_path / f"{at.replace(' ', '_')}.py").write_text(config, encoding="utf-8")
    models = ["constructor.py", "memory.py", "never.py", "second_step.py"]
    options = ["--batch", "2", "--shape", "8", "8", "--steps", "3", "--warm-up", "1", "--device", "cpu"]
    words = [*(f"{model}@float32" for model in models), *options, "--record", "speed.jsonl"]
    assert main(["speed", *words]) == 1
    out, err = capfd.readouterr()
    assert err == ""  # no traceback, and no warning of what a killed process left
    failed = [line for line in out.splitlines() if line.startswith("failed: ")]
    first, second, third = (line.removeprefix("failed: ") for line in failed)
    killed = "its process was killed by signal 9 (out of memory?); time it alone, or with a smaller --batch"
    assert first == f"constructor.py@float32: {killed}"
    assert re.match(r"memory.py@float32: RuntimeError: .*allocate memory.*; time it alone, or ", second)
    assert third == f"second_step.py@float32: {killed}"
    (line,) = Path("speed.jsonl").read_text().splitlines()
    assert (json.loads(line)["model"], json.loads(line)["steps"]) == ("never.py", 3)
    assert "1  never, 8x8 px" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mixmae.py@float8"], "unknown number format 'float8'; known: float32, tf32, bfloat16, float16"),
        (["mixmae.py", "--batch", "0"], "--batch, --steps and --shape must be 1 or more"),
        (["missing.py"], "config missing.py does not exist"),
        (["timm:resnet5000"], "timm has no model 'resnet5000'"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["speed", "--device", "cpu", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
