"""`mixmae-bench verify` passes on what the official code recorded, and fails on anything else."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from mixmae_bench.backbones.layers.windows import WindowAttention
from mixmae_bench.cli import main
from mixmae_bench.errors import UserError
from mixmae_bench.verify.case import read_cases
from mixmae_bench.verify.checks import Check, check_case
from mixmae_bench.verify.groups import check_groups
from mixmae_bench.verify.run import verify

REFERENCE = Path(__file__).parent / "reference"


def copy_case(name: str, folder: Path, change: dict[str, np.ndarray] | None = None, **info: object) -> None:
    """Make a folder with one case, some of its tensors and of its manifest entry changed."""
    manifest = json.loads((REFERENCE / "manifest.json").read_text())
    entry = next(case for case in manifest["cases"] if case["name"] == name)
    with np.load(REFERENCE / entry["file"]) as arrays:
        tensors = {**arrays, **(change or {})}
    np.savez(folder / entry["file"], **tensors)
    entry["sha256"] = hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest()
    manifest["cases"] = [{**entry, **info}]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", [case.name for case in read_cases(REFERENCE)])
def test_every_recorded_tensor_is_reproduced(name: str) -> None:
    case = next(case for case in read_cases(REFERENCE) if case.name == name)
    checks = list(check_case(case, "cpu"))
    assert checks
    assert [check for check in checks if not check.passed] == []


def test_all_that_was_recorded_of_outputs_and_gradients_is_compared() -> None:
    for case in read_cases(REFERENCE):
        compared = {check.tensor for check in check_case(case, "cpu")}
        # The packed tokens are an intermediate of the official code; later maps depend on all of them.
        recorded = {k for k in case.tensors if k.startswith(("out/", "grad/"))}
        left = {k for k in recorded if "compact" not in k and "cell_frequency" not in k} - compared
        assert left == set()


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("mixmae_pre_c", "out/x_rec"),
        ("mixmae_pre_c", "grad/mask_token"),
        ("umpvt_pre_a", "mask/secondary"),
        ("simmim_maskgen", "out/first0"),
        ("mixmae_interp_a", "ckpt_after/absolute_pos_embed"),
    ],
)
def test_one_wrong_entry_fails(name: str, tensor: str, tmp_path: Path) -> None:
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        wrong = arrays[tensor].copy()
    flat = wrong.reshape(-1)
    flat[-1] = ~flat[-1] if wrong.dtype == bool else flat[-1] + 1
    copy_case(name, tmp_path, {tensor: wrong})
    assert verify(tmp_path, "cpu", "*", Console(quiet=True)) == 1


def test_a_wrong_attention_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(self: WindowAttention, *args: torch.Tensor) -> torch.Tensor:
        return forward(self, *args) * 1.001

    forward = WindowAttention.forward
    monkeypatch.setattr(WindowAttention, "forward", scaled)
    assert verify(REFERENCE, "cpu", "simmim_ft_a", Console(quiet=True)) == 1


GROUPS = ["mixmae_ft_a", "simmim_ft_a", "umswin_ft_a"]
"""Cases of tests/reference with recorded parameter groups."""


def test_every_recorded_parameter_group_is_reproduced() -> None:
    checks = {case.name: list(check_groups(case)) for case in read_cases(REFERENCE)}
    assert [name for name in checks if checks[name]] == GROUPS
    assert [check for name in GROUPS for check in checks[name] if not check.passed] == []


def copy_groups(name: str, folder: Path, change: dict) -> None:
    """Make a folder with one case and its parameter groups, some of them changed; "gone" takes one away."""
    copy_case(name, folder)
    for path in REFERENCE.glob("param_groups_*.json"):
        content = json.loads(path.read_text())
        title = next((title for title in content if name in title), None)
        if title:
            groups = {k: v for k, v in {**content[title], **change}.items() if v != "gone"}
            (folder / path.name).write_text(json.dumps({title: groups}))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mixmae_ft_a", {"head.weight": [1.0, 0.05]}),
        ("mixmae_ft_a", {"layers.0.downsample.norm.weight": [0.117649, 0.0]}),
        ("simmim_ft_a", {"layers.0.blocks.0.attn.relative_position_bias_table": [0.4782969, 0.05]}),
        ("umswin_ft_a", {"head.weight": None}),
        ("mixmae_ft_a", {"absolute_pos_embed": [1.0, 0.0]}),
        ("simmim_ft_a", {"norm.weight": "gone"}),
        ("umswin_ft_a", {"head.scale": [1.0, 0.0]}),
        ("umswin_ft_a", {"fc_norm.weight": [1.0001, 0.0]}),
    ],
)
def test_one_wrong_parameter_group_fails_and_is_named(name: str, change: dict, tmp_path: Path) -> None:
    copy_groups(name, tmp_path, change)
    (check,) = check_groups(read_cases(tmp_path)[0])
    assert check.error == 1
    assert check.tensor.endswith(f"{next(iter(change))} differs")
    assert verify(tmp_path, "cpu", "*", Console(quiet=True)) == 1


@pytest.mark.parametrize(
    "title",
    [
        "finetune nothing_ft_a, weight_decay 0.05, layer_decay 0.7 (x)",
        "pretrain mixmae_ft_a, weight_decay 0.05 (x)",
        "finetune mixmae_ft_a, layer_decay 0.7 (x)",
        "finetune mixmae_ft_a",
    ],
)
def test_parameter_groups_of_no_case_are_refused(title: str, tmp_path: Path) -> None:
    copy_case("mixmae_ft_a", tmp_path)
    (tmp_path / "param_groups_x.json").write_text(json.dumps({title: {}}))
    with pytest.raises(UserError, match="names no case"):
        read_cases(tmp_path)


def test_nan_and_another_shape_fail() -> None:
    assert not Check("x", float("nan"), 1.0).passed
    assert not Check("x", float("inf"), 1.0).passed


def test_an_argument_without_counterpart_is_a_failure_that_names_it(tmp_path: Path) -> None:
    constructor = {**read_cases(REFERENCE)[0].info["constructor"], "drop_rate": 0.1}
    copy_case(read_cases(REFERENCE)[0].name, tmp_path, constructor=constructor)
    with pytest.raises(UserError, match=r"drop_rate=0\.1"):
        list(check_case(read_cases(tmp_path)[0], "cpu"))
    assert verify(tmp_path, "cpu", "*", Console(quiet=True)) == 1


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "r")
    with open(tmp_path / "r" / "umvit_pre_a.npz", "ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match="SHA-256"):
        list(check_case(next(c for c in read_cases(tmp_path / "r") if c.name == "umvit_pre_a"), "cpu"))


def test_the_command_says_what_passed_and_exits_with_0(capsys: pytest.CaptureFixture) -> None:
    assert main(["verify", str(REFERENCE), "--only", "*_maskgen"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 cases pass on cpu" in out
    assert "simmim_maskgen" in out
    assert "window attention" not in out


def test_the_command_says_for_every_case_in_which_form_window_attention_was_computed(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["verify", str(REFERENCE), "--only", "mixmae_ft_a"]
    assert main(arguments) == 0
    assert "mixmae_ft_a        window attention was computed as segments" in capsys.readouterr().out
    monkeypatch.setenv("MIXMAE_BENCH_ATTENTION", "plain")
    assert main(arguments) == 0
    assert "mixmae_ft_a        window attention was computed as plain\n" in capsys.readouterr().out


def test_the_command_compiles_every_block_if_it_is_told_to(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    assert main(["verify", str(REFERENCE), "--only", "mixmae_ft_a", "--compile"]) == 0
    assert compiled == ["Block"] * 6
    assert "1 of 1 cases pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "manifest.json does not exist"),
        ([str(REFERENCE), "--only", "nothing*"], "no case"),
    ],
)
def test_a_mistake_is_one_line_with_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["verify", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
