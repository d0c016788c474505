"""Converting checkpoints: recognition, round trips, resizing, and files that are refused."""

import argparse
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mixmae_bench.backbones.loading import load_model, read_state_dict
from mixmae_bench.cli import main
from mixmae_bench.convert.recognise import recognise
from mixmae_bench.registry import MODELS
from mixmae_bench.verify.case import Case, read_cases
from mixmae_bench.verify.models import build

ROOT = Path(__file__).parents[2]
CASES = [case for case in read_cases(ROOT / "tests" / "reference") if case.kind in ("pretrain", "finetune")]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def official(case: Case, file: str = "official.pth", **more: object) -> dict[str, Tensor]:
    state = case.group("sd")
    torch.save({"model": state, **more}, file)
    return state


def error_of(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Run the command, which must end in one line with status 2 and write nothing."""
    before = sorted(Path().iterdir())
    assert main(["convert", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    return err


@cases
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_official_to_ours_and_back_is_exact(case: Case, suffix: str) -> None:
    state = official(case)
    assert main(["convert", "official.pth", f"ours{suffix}"]) == 0
    assert main(["convert", f"ours{suffix}", f"back{suffix}", "--to", "official"]) == 0
    back = read_state_dict(f"back{suffix}")
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype, name
        assert torch.equal(back[name], tensor), name


@cases
def test_the_result_loads_whole_into_our_model_and_gives_the_recorded_output(case: Case) -> None:
    official(case)
    assert main(["convert", "official.pth", "ours.safetensors"]) == 0
    model, _ = build(case)
    load_model(model, "ours.safetensors")
    if case.kind == "finetune":
        logits = model(case.tensors["in/x"])["logits"]
        torch.testing.assert_close(logits, case.tensors["out/logits"], rtol=0, atol=1e-5)


@cases
def test_precision_is_kept(case: Case) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in case.group("sd").items()}
    torch.save({"model": state}, "half.pth")
    assert main(["convert", "half.pth", "ours.safetensors"]) == 0
    assert {t.dtype for t in read_state_dict("ours.safetensors").values()} == {torch.float16}


def test_the_report_names_what_happened(capsys: pytest.CaptureFixture) -> None:
    case = next(case for case in CASES if case.name == "simmim_ft_a")
    official(case)
    assert main(["convert", "official.pth", "ours.pth"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "found: Swin fine-tuning (microsoft/SimMIM), official names"
    assert out[1] == "mapped: 108 tensors"
    assert out[2].startswith(
        "left out, as they follow from sizes: layers.0.blocks.0.attn.relative_position_index, "
    )
    assert out[3].startswith(
        "fits: dict(type='mmpretrain.ImageClassifier', backbone=dict(type='mixmae_bench.Swin'"
    )
    assert "num_heads=(1, 2, 4, 8)), window_size=6, img_size=96)" in out[3]
    assert out[4] == (
        "not in the file, published values assumed: norm_eps of the backbone, qk_scale of the backbone"
    )
    assert out[5] == "wrote ours.pth"
    meta = torch.load("ours.pth", weights_only=True)["meta"]
    assert meta["converted_from"] == "Swin fine-tuning (microsoft/SimMIM), official names"
    assert meta["img_size"] == "96"


def test_tables_are_resized_to_the_backbone_of_a_config_as_the_official_code_does(
    capsys: pytest.CaptureFixture,
) -> None:
    (case,) = (c for c in read_cases(ROOT / "tests" / "reference") if c.name == "mixmae_interp_a")
    before, after = case.group("ckpt_before"), case.group("ckpt_after")
    state = {k: v for k, v in {**case.group("sd"), **before}.items() if not k.endswith("index")}
    torch.save({"model": state}, "small.pth")
    arch = {key: case.info["constructor"][key] for key in ("embed_dim", "depths", "num_heads", "window_size")}
    backbone = dict(type="mixmae_bench.MixMAESwin", arch=arch, img_size=128)
    Path("large.py").write_text(f"model = dict(backbone={backbone!r})\n", encoding="utf-8")
    assert main(["convert", "small.pth", "large.pth", "--fit", "large.py"]) == 0
    out = capsys.readouterr().out
    assert "resized: absolute_pos_embed, " in out
    assert "img_size=128" in out
    converted = read_state_dict("large.pth")
    for name, tensor in after.items():
        if not name.endswith("index"):
            torch.testing.assert_close(converted[f"backbone.{name}"], tensor, rtol=0, atol=1e-6)


def test_fitting_another_architecture_is_refused(capsys: pytest.CaptureFixture) -> None:
    official(next(case for case in CASES if case.name == "mixmae_ft_a"))
    Path("other.py").write_text("model = dict(backbone=dict(type='mixmae_bench.MixMAESwin', arch='small'))\n")
    error = error_of(capsys, "official.pth", "ours.pth", "--fit", "other.py")
    assert "does not fit other.py" in error


def test_shift_masks_need_the_size_of_the_images(capsys: pytest.CaptureFixture) -> None:
    state = official(next(case for case in CASES if case.name == "simmim_ft_a"))
    assert main(["convert", "official.pth", "ours.pth"]) == 0
    torch.save(read_state_dict("ours.pth"), "bare.pth")  # without the meta that says it
    capsys.readouterr()
    assert "--img-size N" in error_of(capsys, "bare.pth", "back.pth", "--to", "official")
    assert main(["convert", "bare.pth", "back.pth", "--to", "official", "--img-size", "96"]) == 0
    assert read_state_dict("back.pth").keys() == state.keys()


def test_a_checkpoint_of_a_run_goes_back_to_the_official_names() -> None:
    backbone = dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32)
    model = MODELS.build(
        dict(type="mixmae_bench.MixMAE", backbone=backbone, decoder=dict(dim=64, depth=2, num_heads=4))
    )
    torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 20}, "optimizer": {}}, "epoch_20.pth")
    assert main(["convert", "epoch_20.pth", "official.pth", "--to", "official"]) == 0
    state = torch.load("official.pth", weights_only=True)["model"]
    assert state["layers.0.blocks.0.attn.relative_position_index"].shape == (64, 64)
    assert state["decoder_blocks.1.mlp.fc2.bias"].equal(model.decoder.blocks[1].mlp.fc2.bias)


@pytest.fixture
def yacs(monkeypatch: pytest.MonkeyPatch) -> type:
    """Settings as yacs', a dict with attributes; the package is there only while a file is written."""
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module = types.ModuleType("yacs.config")
    module.CfgNode = node
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    return node


def test_settings_of_simmims_scripts_do_not_hinder(yacs: type, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.name == "simmim_ft_a")
    config = yacs({"MODEL": yacs({"NAME": "simmim", "SWIN": yacs({"DEPTHS": [2, 2, 18, 2]})}), "AMP": "O1"})
    config.__dict__.update(__immutable__=True, __deprecated_keys__=set(), __new_allowed__=False)
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))]).state_dict()
    official(case, config=config, optimizer=optimiser, epoch=99, args=argparse.Namespace(lr=1e-3))
    monkeypatch.delitem(sys.modules, "yacs.config")
    monkeypatch.delitem(sys.modules, "yacs")
    assert main(["convert", "official.pth", "ours.pth"]) == 0


class Hostile:
    def __reduce__(self) -> tuple:
        return (exec, ("from pathlib import Path; Path('executed').touch()",))


def test_code_in_a_file_is_refused_and_not_run(capsys: pytest.CaptureFixture) -> None:
    case = CASES[0]
    official(case, config=Hostile())
    assert "asks for" in error_of(capsys, "official.pth", "ours.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Hostile()))
    assert "cannot be read" in error_of(capsys, "plain.pth", "ours.pth")
    assert not Path("executed").exists()


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_truncated_file_is_refused(size: int, capsys: pytest.CaptureFixture) -> None:
    official(CASES[0])
    for name in ("cut.pth", "cut.safetensors"):
        Path(name).write_bytes(Path("official.pth").read_bytes()[:size])
        assert f"checkpoint {name} " in error_of(capsys, name, "ours.pth")


def test_a_damaged_archive_is_refused(capsys: pytest.CaptureFixture) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", b"no pickle")
    Path("damaged.pth").write_bytes(content.getvalue())
    assert "checkpoint damaged.pth cannot be read" in error_of(capsys, "damaged.pth", "ours.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: {k: v for k, v in state.items() if k != "norm.weight" and k != "norm.bias"},
            "nearest: MixMAE fine-tuning (official names) or ",
        ),
        (
            lambda state: {**state, "layers.0.blocks.0.gamma": torch.ones(1)},
            "does not have layers.0.blocks.0.gamma",
        ),
        (lambda state: {f"{k}.value": v for k, v in state.items()}, "is of no known kind; nearest: "),
        (lambda state: {"conv1.weight": torch.ones(1)}, "is of no known kind; nearest: "),
    ],
)
def test_an_unknown_file_is_refused_with_what_is_near(
    change: object, message: str, capsys: pytest.CaptureFixture
) -> None:
    case = next(case for case in CASES if case.name == "mixmae_ft_a")
    save_file(change(case.group("sd")), "unknown.safetensors")
    assert message in error_of(capsys, "unknown.safetensors", "ours.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pth", "ours.pth"], "checkpoint missing.pth does not exist"),
        (["official.pth", "ours.bin"], "ours.bin must end in .safetensors or .pth"),
        (["official.pth", "official.pth"], "official.pth exists"),
        (["official.pth", "no/ours.pth"], "folder no does not exist"),
        (["official.pth", "ours.pth", "--fit", "no.py"], "config no.py does not exist"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    official(CASES[0])
    assert message in error_of(capsys, *arguments)


@cases
def test_recognition_does_not_depend_on_the_order_of_keys(case: Case) -> None:
    names = list(case.group("sd"))
    assert recognise(names)[0].kind == recognise(names[::-1])[0].kind
