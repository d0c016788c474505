"""The order of patch merging is told by names that only one dialect has, wherever the backbone stands."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.cli import main
from mixmae_bench.registry import MODELS

State = dict[str, Tensor]
SWIN = dict(
    type="mixmae_bench.Swin",
    arch=dict(embed_dim=8, depths=(1, 2, 1), num_heads=(1, 2, 2)),
    window_size=4,
    img_size=64,
    out_indices=(0, 1, 2),
)
MIXMAE = dict(
    type="mixmae_bench.MixMAESwin",
    arch=dict(embed_dim=8, depths=(1, 2, 1), num_heads=(1, 2, 2), window_size=(4, 4, 2)),
    img_size=32,
    out_indices=(0, 1, 2),
)
UM_SWIN = dict(
    type="mixmae_bench.UMSwin",
    arch=dict(embed_dim=8, depths=(1, 2, 1), num_heads=(1, 2, 2), posmlp_dim=4),
    out_indices=(0, 1, 2),
)
UM_PVT = dict(type="mixmae_bench.UMPVT", arch="small", img_size=32, out_indices=(0, 1, 2, 3))
VIT = dict(type="mixmae_bench.PlainViT", arch=dict(embed_dim=64, depth=2, num_heads=1), img_size=32)
HEADS = {
    "neck.lateral_convs.0.conv.weight": torch.zeros(4, 8, 1, 1),
    "rpn_head.rpn_conv.weight": torch.zeros(4, 4, 3, 3),
    "roi_head.bbox_head.0.fc_cls.weight": torch.zeros(3, 4),
}
SEGMENTOR = {
    "decode_head.conv_seg.weight": torch.zeros(2, 2),
    "auxiliary_head.conv_seg.weight": torch.zeros(2, 2),
}
NECK = {"neck.fpn_convs.0.conv.weight": torch.zeros(4, 4, 3, 3)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@torch.no_grad()
def truth(config: dict) -> State:
    """The state of one of our backbones, random but for fixed positions."""
    torch.manual_seed(0)
    backbone = MODELS.build(config)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter)
    return backbone.state_dict()


def unfolded(tensor: Tensor) -> Tensor:
    """Reorder the inputs of patch merging from the official order to mmcv's, channel by channel."""
    width = tensor.shape[-1] // 4
    # Official neighbours: (0,0), (1,0), (0,1), (1,1); mmcv's: (0,0), (0,1), (1,0), (1,1).
    order = [neighbour * width + channel for channel in range(width) for neighbour in (0, 2, 1, 3)]
    return tensor[..., order]


def of_official(name: str) -> str:
    """Swin-Transformer-Object-Detection's, and any official code's in a dense task: norms are numbered."""
    return re.sub(r"^norm\.", "norm2.", name.replace("out_norms.", "norm"))


def of_mmdet(name: str) -> str:
    name = re.sub(r"^layers\.(\d+)", r"stages.\1", of_official(name))
    name = name.replace(".attn.", ".attn.w_msa.").replace("embed.proj.", "embed.projection.")
    return name.replace("mlp.fc1.", "ffn.layers.0.0.").replace("mlp.fc2.", "ffn.layers.1.")


def of_mixmim(name: str) -> str:
    name = re.sub(r"\.norm([12])\.", r".ln\1.", name).replace("embed.proj.", "embed.projection.")
    return name.replace("mlp.fc1.", "ffn.layers.0.0.").replace("mlp.fc2.", "ffn.layers.1.")


def of_timm(name: str) -> str:
    return re.sub(r"^layers\.(\d+)(?=\.downsample)", lambda m: f"layers.{int(m[1]) + 1}", name)


def named(rename: Callable[[str], str], prefix: str, state: State) -> State:
    return {prefix + rename(name): tensor for name, tensor in state.items()}


def mmcv(rename: Callable[[str], str], prefix: str, state: State) -> State:
    merged = {n: unfolded(t) if ".downsample." in n else t for n, t in state.items()}
    return named(rename, prefix, merged)


def converted(theirs: State, capsys: pytest.CaptureFixture) -> State:
    torch.save({"state_dict": theirs}, "theirs.pth")
    Path("ours.pth").unlink(missing_ok=True)
    assert main(["convert", "theirs.pth", "ours.pth"]) == 0, capsys.readouterr().err
    return {name.removeprefix("backbone."): tensor for name, tensor in read_state_dict("ours.pth").items()}


def refusal(theirs: State, capsys: pytest.CaptureFixture) -> str:
    torch.save({"state_dict": theirs}, "theirs.pth")
    assert main(["convert", "theirs.pth", "ours.pth"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), Path("ours.pth").exists()) == ("", 1, False)
    return err


def without_out_norms(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith("out_norms.")}


PLACES = {
    "bare": ("", {}),
    "detector": ("backbone.", HEADS),
    "segmentor": ("backbone.", SEGMENTOR),
    "heads removed": ("backbone.", {}),
    "heads removed but the neck": ("backbone.", NECK),
    "encoder": ("encoder.", {}),
    "Lightning": ("model.", {}),
    "detector in Lightning": ("model.backbone.", {f"model.{name}": t for name, t in HEADS.items()}),
    "DINO": ("backbone.0.", {"class_embed.0.weight": torch.zeros(2, 2), "transformer.x": torch.zeros(1)}),
    "wrapped": ("backbone.body.", HEADS),
}


@pytest.mark.parametrize(("prefix", "heads"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("config", [SWIN, MIXMAE, UM_SWIN, UM_PVT, VIT], ids=lambda config: config["type"])
def test_official_names_keep_their_order_wherever_they_stand(
    config: dict, prefix: str, heads: State, capsys: pytest.CaptureFixture
) -> None:
    state = truth(config)
    rename = of_official if len(config.get("out_indices", ())) == 3 else (lambda name: name)
    ours = converted({**named(rename, prefix, state), **heads}, capsys)
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], state[name]) for name in state)
    said = capsys.readouterr().out
    assert config["type"] in said
    assert ("dropped: " in said) == bool(heads)


@pytest.mark.parametrize(("prefix", "heads"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    ("config", "rename"), [(SWIN, of_mmdet), (MIXMAE, of_mixmim)], ids=["Swin", "MixMIM"]
)
def test_names_of_mmcv_are_reordered_wherever_they_stand(
    config: dict, rename: Callable[[str], str], prefix: str, heads: State, capsys: pytest.CaptureFixture
) -> None:
    state = truth(config)
    ours = converted({**mmcv(rename, prefix, state), **heads}, capsys)
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], state[name]) for name in state)
    assert config["type"] in capsys.readouterr().out


@pytest.mark.parametrize(("prefix", "heads"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("rename", [of_timm, lambda name: name], ids=["since 0.9", "before"])
def test_timms_names_keep_their_order_wherever_they_stand(
    rename: Callable[[str], str], prefix: str, heads: State, capsys: pytest.CaptureFixture
) -> None:
    state = without_out_norms(truth(SWIN))
    ours = converted({**named(rename, prefix, state), **heads}, capsys)
    assert ours.keys() == state.keys()
    assert all(torch.equal(ours[name], state[name]) for name in state)


def test_unfolded_is_the_order_of_mmcvs_own_code() -> None:
    from mmpretrain.models.utils import PatchMerging
    from timm.models.swin_transformer import PatchMerging as Official

    theirs, official = PatchMerging(3, 6), Official(3, 6)
    for parameter in official.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict({name: unfolded(tensor) for name, tensor in official.state_dict().items()})
    tokens = torch.randn(1, 4, 6, 3)
    expected = official(tokens).flatten(1, 2)
    torch.testing.assert_close(theirs(tokens.flatten(1, 2), (4, 6))[0], expected, rtol=0, atol=1e-5)


PARTS = {
    "stages": lambda n: re.sub(r"^layers\.(\d+)", r"stages.\1", n),
    "w_msa": lambda n: n.replace(".attn.", ".attn.w_msa."),
    "ffn.layers": lambda n: n.replace("mlp.fc1.", "ffn.layers.0.0.").replace("mlp.fc2.", "ffn.layers.1."),
    "projection": lambda n: n.replace("embed.proj.", "embed.projection."),
    "ln1": lambda n: re.sub(r"blocks\.(\d+)\.norm([12])\.", r"blocks.\1.ln\2.", n),
}


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("part", PARTS)
def test_mixed_names_are_refused_in_one_line(part: str, prefix: str, capsys: pytest.CaptureFixture) -> None:
    state = truth(SWIN)
    some = named(lambda name: PARTS[part](of_official(name)), prefix, state)
    line = refusal(some, capsys)
    assert "names of mmcv's models" in line
    assert "order of patch merging" in line

    mm, official = (dict(zip(state, named(r, prefix, state), strict=True)) for r in (of_mmdet, of_official))
    first = next(name for name in state if PARTS[part](name) != name)
    refusal({(official if name == first else mm)[name]: state[name] for name in state}, capsys)


def test_two_backbones_in_one_file_are_refused(capsys: pytest.CaptureFixture) -> None:
    state = truth(SWIN)
    line = refusal({**named(of_official, "left.", state), **named(of_official, "right.", state)}, capsys)
    assert "several backbones, under 'left.', 'right.'" in line


def test_a_norm_that_is_there_twice_is_refused(capsys: pytest.CaptureFixture) -> None:
    state = named(of_official, "backbone.", truth(SWIN))
    line = refusal(
        {**state, "backbone.norm.weight": torch.ones(32), "backbone.norm.bias": torch.ones(32)}, capsys
    )
    assert "has only one name for" in line


def test_learnt_positions_without_shift_masks_are_those_of_a_swin(capsys: pytest.CaptureFixture) -> None:
    """A detector's checkpoint has no shift masks, and MixMAE's positions are sines."""
    state = truth({**SWIN, "ape": True})
    converted({**named(of_official, "backbone.", state), **HEADS}, capsys)
    said = capsys.readouterr().out
    assert "'mixmae_bench.Swin'" in said
    assert "ape=True" in said
    # Windows of 2, 4 and 2 are no Swin's.
    mixmae = {**truth(MIXMAE), "absolute_pos_embed": torch.randn(1, 64, 8)}
    mixmae["layers.0.blocks.0.attn.relative_position_bias_table"] = torch.randn(9, 1)
    converted(named(of_official, "backbone.", mixmae), capsys)
    assert "'mixmae_bench.MixMAESwin'" in capsys.readouterr().out
