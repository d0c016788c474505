"""Kinds of checkpoints that models register: the order of recognition, and models outside the package."""

import hashlib
import importlib
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mixmae_bench.backbones.loading import load_model
from mixmae_bench.backbones.official import kinds
from mixmae_bench.cli import main
from mixmae_bench.convert.recognise import recognise
from mixmae_bench.registry import MODELS
from mixmae_bench.verify.case import NotBuilt, read_cases
from mixmae_bench.verify.models import build

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = {case.name: case for case in read_cases(REFERENCE) if case.group("sd")}

MODULE = """
from mixmae_bench.backbones import swin_official
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.names import BOTH
from mixmae_bench.backbones.swin import Swin
from mixmae_bench.methods.simmim import SimMIM
from mixmae_bench.registry import MODELS


@MODELS.register_module()
class MySwin(Swin):
    pass


@MODELS.register_module()
class MyMIM(SimMIM):
    pass


CHECKPOINT = BackboneCheckpoint(MySwin, swin_official.CHECKPOINT.settings, defaults=("qk_scale",))
KEYS = swin_official.window_keys("trunk.")
register(
    Kind(
        "MySwin fine-tuning",
        "me/my-swin",
        "ImageClassifier",
        CHECKPOINT,
        (("trunk.", "backbone."), ("fc.", "head.fc.")),
        keys=KEYS,
        optional=(rf"fc{BOTH}",),
        files=("my_swin",),
        constructor=swin_official.swin_arguments,
    ),
    Kind(
        "MyMIM pretraining",
        "me/my-swin",
        "MyMIM",
        CHECKPOINT,
        (("trunk.", "backbone."), ("token", "mask_token"), ("out.", "decoder.")),
        keys=(*KEYS, "token", rf"out{BOTH}"),
        settings=lambda state, backbone: dict(mask_patch_size=32),
        defaults=("mask_patch_size",),
    ),
)
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module that registers a backbone and a method, and a config that imports it."""
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "config.py").write_text(
        "custom_imports = dict(imports=['mixmae_bench', 'my_models'])\n"
        "arch = dict(embed_dim=16, depths=(2, 2, 2, 1), num_heads=(1, 2, 4, 8))\n"
        "model = dict(backbone=dict(type='mixmae_bench.MySwin', arch=arch, window_size=6, img_size=96))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(kinds, "_KINDS", [*kinds.registered()])
    monkeypatch.setattr(MODELS, "_module_dict", {**MODELS.module_dict})
    yield tmp_path
    sys.modules.pop("my_models", None)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_recognition_does_not_depend_on_the_order_of_registration(
    case: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = list(case.group("sd"))
    expected = recognise(names)[0].kind
    assert case.family in expected.files
    shuffled = kinds.registered()
    for seed in range(3):
        random.Random(seed).shuffle(shuffled)
        monkeypatch.setattr(kinds, "_KINDS", shuffled)
        assert recognise(names)[0].kind is expected


def theirs() -> dict[str, torch.Tensor]:
    """The parameters of a recorded Swin under the names of another repository."""
    state = CASES["simmim_ft_a"].group("sd")
    names = [name for name in state if not name.endswith(("relative_position_index", "attn_mask"))]
    return {f"fc.{n[5:]}" if n.startswith("head.") else f"trunk.{n}": state[n] for n in names}


def test_checkpoints_of_models_outside_the_package_are_converted_there_and_back(
    outside: Path, capsys: pytest.CaptureFixture
) -> None:
    state = theirs()
    torch.save(state, "classifier.pth")
    assert main(["convert", "classifier.pth", "ours.pth"]) == 2
    assert "is of no known kind" in capsys.readouterr().err
    assert main(["convert", "classifier.pth", "ours.pth", "--fit", "config.py"]) == 0
    out = capsys.readouterr().out
    assert "found: MySwin fine-tuning (me/my-swin), official names" in out
    assert "backbone=dict(type='mixmae_bench.MySwin', arch=dict(embed_dim=16, depths=(2, 2, 2, 1)" in out
    assert "published values assumed: qk_scale of the backbone" in out
    assert main(["convert", "ours.pth", "back.pth", "--to", "official"]) == 0
    back = torch.load("back.pth", weights_only=True)["model"]
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)

    trunk = {name: tensor for name, tensor in state.items() if name.startswith("trunk.")}
    rest = dict(token=torch.ones(1, 1, 16)) | {"out.weight": torch.ones(3072, 128, 1, 1)}
    torch.save(trunk, "trunk.pth")
    assert main(["convert", "trunk.pth", "trunk_ours.pth"]) == 0
    assert "fits: dict(type='mixmae_bench.MySwin'" in capsys.readouterr().out
    torch.save({**trunk, **rest, "out.bias": torch.ones(3072)}, "method.pth")
    assert main(["convert", "method.pth", "method_ours.pth"]) == 0
    assert "fits: dict(type='mixmae_bench.MyMIM'" in capsys.readouterr().out
    backbone = dict(
        type="mixmae_bench.MySwin",
        arch=dict(embed_dim=16, depths=(2, 2, 2, 1), num_heads=(1, 2, 4, 8)),
        window_size=6,
        img_size=96,
    )
    load_model(MODELS.build(dict(type="mixmae_bench.MyMIM", backbone=backbone)), "method_ours.pth")


def test_recorded_cases_of_models_outside_the_package_are_built(outside: Path) -> None:
    case = CASES["simmim_ft_a"]
    np.savez("my.npz", **{f"sd/{name}": tensor.numpy() for name, tensor in theirs().items()})
    info = {**case.info, "file": "my.npz", "official": {"file": "models/my_swin.py"}}
    info["sha256"] = hashlib.sha256(Path("my.npz").read_bytes()).hexdigest()
    mine = replace(case, folder=outside, info=info)
    with pytest.raises(NotBuilt, match=r"models/my_swin\.py is not supported"):
        build(mine)
    importlib.import_module("my_models")
    model, kind = build(mine)
    assert type(model.backbone).__name__ == "MySwin"
    assert kind.name == "MySwin fine-tuning"
