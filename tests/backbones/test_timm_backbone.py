"""Models of timm as backbones: the same numbers and names as timm's own, for a small model of each family."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models._manipulate import group_parameters
from torch import nn

from mixmae_bench.backbones import timm_parts
from mixmae_bench.backbones.backbone import Backbone
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS
from mixmae_bench.validate.families import FAMILIES

NAMES = list(FAMILIES)
SWIN, HIERA, RESNET, VIT = (next(n for n in NAMES if n.startswith(p)) for p in ("swin_", "hi", "res", "vit"))


def build(name: str, **kwargs: object) -> Backbone:
    torch.manual_seed(0)
    cfg = dict(type="mixmae_bench.TimmBackbone", model=name, model_args=FAMILIES[name], **kwargs)
    return MODELS.build(cfg).eval()


def own(name: str, **kwargs: object) -> nn.Module:
    """Timm's model, with parameters that are all random (layer scales and norms too)."""
    torch.manual_seed(1)
    model = timm.create_model(name.partition(".")[0], **FAMILIES[name], **kwargs).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.05, std=0.05)
    return model


def images(side: int, *, channels: int = 3, width: int | None = None) -> torch.Tensor:
    return torch.randn(2, channels, side, width or side, generator=torch.Generator().manual_seed(0))


def native(model: nn.Module) -> int:
    return model.pretrained_cfg["input_size"][-1]


@pytest.mark.parametrize("name", NAMES)
def test_pooled_features_are_those_of_timms_classifier(name: str) -> None:
    model, backbone = own(name), build(name, pooled=True)
    wanted = set(backbone.state_dict())
    backbone.load_state_dict({k: v for k, v in model.state_dict().items() if k in wanted}, strict=True)
    x = images(native(model))
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(x), pre_logits=True)
        (found,) = backbone(x)
    assert found.shape == (2, backbone.out_channels[0], 1, 1)
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_strides_4_to_32_at_any_size_and_a_loaded_checkpoint_fills_the_model(
    name: str, tmp_path: Path
) -> None:
    """At 100 x 75 px; the checkpoint has timm's native size and a classifier."""
    save_file(own(name).state_dict(), tmp_path / "w.safetensors")
    backbone = build(name, init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "w.safetensors")))
    backbone.init_weights()
    assert backbone.audit["filled"] == 100
    with torch.no_grad():
        maps = backbone(images(100, width=75))
    assert [tuple(m.shape[2:]) for m in maps] == [(25, 19), (13, 10), (7, 5), (4, 3)]
    assert [m.shape[1] for m in maps] == backbone.out_channels
    assert backbone.out_strides == [4, 8, 16, 32]


@pytest.mark.parametrize("name", NAMES)
def test_depths_are_timms_and_never_decrease_in_forward_order(name: str) -> None:
    """Timm's own grouping of a model with a classifier is the reference; order by forward hooks."""
    backbone = build(name)
    called: dict[str, None] = {}
    for path, module in backbone.named_modules():
        for parameter in dict(module.named_parameters(recurse=False)):
            full = f"{path}.{parameter}" if path else parameter
            if path:
                module.register_forward_pre_hook(lambda m, args, full=full: called.setdefault(full))
    with torch.no_grad():
        backbone(images(native(own(name))))
    names = [n for n, _ in backbone.named_parameters()]
    assert set(backbone.order) == set(names)  # every parameter is used
    depths = [backbone.get_layer_depth(n)[0] for n in backbone.order]
    assert depths == sorted(depths)
    assert depths[0] == 0
    hooked = [backbone.get_layer_depth(n)[0] for n in called]
    assert len(hooked) > 0.8 * len(names)
    assert hooked == sorted(hooked)
    model = own(name)
    reference = group_parameters(model, model.group_matcher(), reverse=True)
    assert {n: backbone.get_layer_depth(n)[0] for n in names if n in reference} == {
        n: reference[n] for n in names if n in reference
    }
    head = backbone.get_layer_depth("")[1] - 1
    assert head == max(reference.values())
    unmatched = [n for n in names if backbone.get_layer_depth(n)[0] == head]
    assert all(n.startswith(("out_", "incre_modules")) for n in unmatched)  # layers after the last block


@pytest.mark.parametrize("name", [n for n in NAMES if "hrnet" not in n])
def test_checkpointed_activations_leave_outputs_and_gradients_unchanged(name: str) -> None:
    found = []
    for with_cp in (False, True):
        backbone = build(name, with_cp=with_cp)
        size = backbone.only_size or (64, 64)
        torch.manual_seed(2)
        sum(m.square().mean() for m in backbone(images(*size[:1]))).backward()
        grads = {n: p.grad for n, p in backbone.named_parameters()}
        assert all(grad is not None for grad in grads.values())
        found.append(grads)
    for key, grad in found[0].items():
        torch.testing.assert_close(found[1][key], grad, rtol=1e-4, atol=1e-7)


def test_what_a_model_lacks_is_one_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(timm_parts.build, "print_log", lambda text, *args, **kwargs: lines.append(text))
    build("hrnet_w18_small", with_cp=True, drop_path_rate=0.1)
    text = "\n".join(lines)
    assert len(lines) == 3
    assert "has no activation checkpointing; with_cp has no effect" in text
    assert "has no stochastic depth; drop_path_rate has no effect" in text
    assert "padded to a multiple of 32" in text


def test_drop_path_reaches_the_blocks() -> None:
    backbone = build(VIT, drop_path_rate=0.5).train()
    x = images(64)
    with torch.no_grad():
        assert not torch.equal(backbone(x)[2], backbone(x)[2])


@pytest.mark.parametrize("name", [SWIN, HIERA, VIT])
def test_tables_are_resized_to_another_size(name: str, tmp_path: Path) -> None:
    """And with the names of this package's own runs, which lack the classifier."""
    state = {f"backbone.{k}": v for k, v in own(name, num_classes=0).state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "w.safetensors"))
    backbone = build(name, img_size=64, init_cfg=init_cfg)
    backbone.init_weights()
    assert backbone.audit["filled"] == 100
    assert backbone.audit["resized"]
    for key, value in backbone.state_dict().items():
        if f"backbone.{key}" in state and key not in backbone.audit["resized"]:
            assert torch.equal(value, state[f"backbone.{key}"]), key
        assert f"backbone.{key}" in state or key.startswith("out_")


def test_names_of_an_own_run_are_not_taken_for_old_ones_of_timm(tmp_path: Path) -> None:
    """Timm's filter for Swin moves downsamples by one stage unless there is a classifier."""
    name = SWIN
    state = own(name, num_classes=0, img_size=64).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "w.safetensors"))
    backbone = build(name, img_size=128, init_cfg=init_cfg)
    backbone.init_weights()
    key = "layers.2.downsample.reduction.weight"
    assert torch.equal(backbone.state_dict()[key], state[key])


def test_weights_for_3_channels_are_summed_for_1(tmp_path: Path) -> None:
    model = own(RESNET)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "w.safetensors"))
    backbone = build(RESNET, in_chans=1, pooled=True, init_cfg=init_cfg)
    backbone.init_weights()
    grey = images(64, channels=1)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(grey.expand(-1, 3, -1, -1)), pre_logits=True)
        torch.testing.assert_close(backbone(grey)[0].flatten(1), expected, rtol=1e-4, atol=1e-5)


def test_frozen_stages_are_the_stem_and_the_first_stages_in_evaluation_mode() -> None:
    backbone = build(RESNET, frozen_stages=1).train()
    trained = {n.partition(".")[0] for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert not backbone.bn1.training
    assert not backbone.layer1[0].bn1.training
    assert backbone.layer2[0].bn1.training
    with pytest.raises(ValueError, match=r"frozen_stages is 9; resnet18 has 5 with its stem"):
        build(RESNET, frozen_stages=9)


def test_one_size_only_is_padded_to_and_larger_images_are_refused() -> None:
    backbone = build(HIERA, img_size=96)
    small = images(80)
    padded = nn.functional.pad(small, (0, 16, 0, 16))
    with torch.no_grad():
        for found, whole in zip(backbone(small), backbone(padded), strict=True):
            assert torch.equal(found, whole[..., : found.shape[2], : found.shape[3]])
    with pytest.raises(UserError, match=r"images of 100x64 are larger than 96x96.*set img_size"):
        backbone(images(100, width=64))


def test_depths_that_decrease_in_forward_order_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = dict(stem=r"^patch_embed|cls_token|pos_embed", blocks=[(r"^blocks\.0", (2,)), (r"^b", (1,))])
    monkeypatch.setattr(timm.models.VisionTransformer, "group_matcher", lambda self, coarse=False: matcher)
    with pytest.raises(UserError, match=r"decrease in forward order: 'blocks\.1\."):
        build(VIT).get_layer_depth("norm.weight")


@pytest.mark.parametrize("name", ["poolformer_s12", "rdnet_tiny"])
def test_a_family_that_timm_does_not_group_is_refused_only_where_groups_are_needed(name: str) -> None:
    cfg = dict(type="mixmae_bench.TimmBackbone", model=name)
    with pytest.raises(UserError, match=rf"{name} does not group its stages \(.*; set frozen_stages -1"):
        MODELS.build({**cfg, "frozen_stages": 0})
    backbone = MODELS.build(cfg)
    if name == "poolformer_s12":
        with pytest.raises(UserError, match=r"does not group its layers \(.*; set layer_decay_rate 1\.0"):
            backbone.get_layer_depth("stem.conv.weight")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(model="hiera_tiny_225"), "timm has no model 'hiera_tiny_225'. Did you mean 'hiera_tiny_224'"),
        (dict(model="resnet18", model_args=dict(depth=3)), "cannot be built.*depth"),
        (dict(model="resnet18", out_indices=(0, 4)), r"out_indices \(0, 4\) must be increasing, from 0 to 3"),
        (dict(model="vit_small_patch32_224"), "patches of 32 px; the feature pyramid needs 16 px"),
        (dict(model="resnet18", init_cfg=dict(type="Normal")), "init_cfg of a backbone must be"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type="mixmae_bench.TimmBackbone", **kwargs))
