"""Encoders converted to timm and mmpretrain load there, give the same features, and come back exactly."""

from pathlib import Path

import pytest
import timm
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

import mixmae_bench.timm_models  # noqa: F401
from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.cli import main
from mixmae_bench.registry import MODELS

ARCH = dict(embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 6))
SWIN = dict(type="mixmae_bench.Swin", arch=ARCH, window_size=4, img_size=128)
MIXMAE = dict(type="mixmae_bench.MixMAESwin", arch=dict(ARCH, window_size=(4, 4, 4, 2)), img_size=128)
METHODS = {
    "SimMIM": dict(type="mixmae_bench.SimMIM", backbone=SWIN),
    "MixMAE": dict(type="mixmae_bench.MixMAE", backbone=MIXMAE, decoder=dict(dim=32, depth=1, num_heads=2)),
}
THEIR_ARCH = dict(embed_dims=24, depths=[2, 2, 2, 2], num_heads=[1, 2, 3, 6])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@torch.no_grad()
def pretrained(method: str) -> nn.Module:
    """Return a method with random parameters in every place, and write its checkpoint."""
    torch.manual_seed(0)
    model = MODELS.build(METHODS[method]).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save({"state_dict": model.state_dict()}, "ours.pth")
    return model


def of_mmpretrain(method: str) -> nn.Module:
    import mmpretrain.models  # noqa: F401

    swin = dict(type="SwinTransformer", stage_cfgs=dict(block_cfgs=dict(window_size=4)))
    mixmim = dict(type="MixMIMTransformer", window_size=[4, 4, 4, 2])
    own = dict(swin if method == "SimMIM" else mixmim, arch=THEIR_ARCH, img_size=128)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return nn.ModuleDict({"backbone": MODELS.build(own)}).eval()


def of_timm(method: str) -> nn.Module:
    small = dict(img_size=128, embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 6), window_size=4)
    if method == "SimMIM":
        return timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **small).eval()
    arch = MIXMAE["arch"]
    return timm.create_model("mixmae_swin_base_w14_224", num_classes=0, arch=arch, img_size=128).eval()


def images() -> Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_timm_loads_all_of_it_and_gives_the_same_features(method: str) -> None:
    ours, theirs = pretrained(method), of_timm(method)
    assert main(["convert", "ours.pth", "theirs.safetensors", "--to", "timm"]) == 0
    theirs.load_state_dict(read_state_dict("theirs.safetensors"), strict=True)
    expected = ours.backbone(images())[-1].permute(0, 2, 3, 1)
    found = theirs.forward_features(images())
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_mmpretrain_loads_all_of_it_and_gives_the_same_features(method: str) -> None:
    ours, theirs = pretrained(method), of_mmpretrain(method)
    assert main(["convert", "ours.pth", "theirs.pth", "--to", "mmpretrain"]) == 0
    theirs.load_state_dict(read_state_dict("theirs.pth"), strict=True)
    expected = ours.backbone(images())[-1]
    found = theirs["backbone"](images())[-1]
    if found.ndim == 2:  # MixMIM pools
        expected = expected.mean((2, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("package", ["timm", "mmpretrain"])
@pytest.mark.parametrize("method", METHODS)
def test_there_and_back_is_exact(method: str, package: str, capsys: pytest.CaptureFixture) -> None:
    ours = pretrained(method).backbone.state_dict()
    assert main(["convert", "ours.pth", "theirs.safetensors", "--to", package]) == 0
    assert "dropped: " in capsys.readouterr().out  # the decoder
    assert main(["convert", "theirs.safetensors", "back.safetensors"]) == 0
    back = read_state_dict("back.safetensors")
    assert back.keys() == {f"backbone.{name}" for name in ours}
    assert all(torch.equal(back[f"backbone.{name}"], tensor) for name, tensor in ours.items())


@pytest.mark.parametrize("package", ["timm", "mmpretrain"])
def test_a_classifier_keeps_its_head(package: str) -> None:
    torch.manual_seed(0)
    state = {f"backbone.{name}": tensor for name, tensor in MODELS.build(MIXMAE).state_dict().items()}
    state |= {"head.fc.weight": torch.randn(5, 192), "head.fc.bias": torch.randn(5)}
    torch.save(state, "ours.pth")
    assert main(["convert", "ours.pth", "theirs.pth", "--to", package]) == 0
    assert main(["convert", "theirs.pth", "back.pth"]) == 0
    back = read_state_dict("back.pth")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_a_package_without_the_model_is_refused_in_one_line(capsys: pytest.CaptureFixture) -> None:
    config = dict(type="mixmae_bench.UMSwin", arch=dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2)))
    state = MODELS.build(config).state_dict()
    torch.save({f"backbone.{name}": tensor for name, tensor in state.items()}, "um.pth")
    for package in ("timm", "mmpretrain"):
        assert main(["convert", "um.pth", "out.pth", "--to", package]) == 2
        assert (
            f"error: {package} has no model of UMSwin; give one of --to official\n" in capsys.readouterr().err
        )
    swin = MODELS.build(dict(SWIN, ape=True)).state_dict()
    torch.save({f"backbone.{name}": tensor for name, tensor in swin.items()}, "ape.pth")
    assert main(["convert", "ape.pth", "out.pth", "--to", "timm"]) == 2
    assert "timm's model of Swin has no 'absolute_pos_embed'" in capsys.readouterr().err
    assert not Path("out.pth").exists()
