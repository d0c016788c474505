"""Features of every stage, for every kind of backbone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn
from torch.nn.functional import layer_norm

from mixmae_bench.errors import UserError
from mixmae_bench.probes.features import build_model, names, of_all_stages, reduce_maps, weights_hash
from mixmae_bench.validate.families import FAMILIES

SWIN = dict(embed_dim=8, depths=(2, 2, 1), num_heads=(2, 2, 4))
PVT = dict(
    embed_dims=(8, 16, 24), depths=(1, 2, 1), num_heads=(1, 2, 2), mlp_ratios=(2,) * 3, sr_ratios=(4, 2, 1)
)
BACKBONES = {
    "MixMAESwin": (dict(arch=dict(SWIN, window_size=(4, 4, 2)), img_size=32), [8, 16, 32]),
    "Swin": (dict(arch=SWIN, window_size=4, img_size=32), [8, 16, 32]),
    "UMSwin": (dict(arch=SWIN, window_size=4, img_size=32, final_norm=False), [8, 16, 32]),
    "UMPVT": (dict(arch=PVT, img_size=32), [8, 16, 24]),
    "PlainViT": (dict(arch=dict(embed_dim=16, depth=2, num_heads=2), patch_size=8, img_size=32), [16]),
}
TIMM = {
    "swin_tiny_patch4_window7_224": [24, 48, 96, 192],
    "vit_base_patch16_224.mae": [64],
}


def model_of(backbone: dict, checkpoint: Path | None = None, seed: int = 0) -> nn.Module:
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        own = of_all_stages(Config(backbone).to_dict())
    return build_model(own, None, checkpoint and str(checkpoint), seed, "mmpretrain")


@pytest.mark.parametrize("kind", BACKBONES)
def test_every_stage_of_every_backbone_of_this_package_is_returned(kind: str) -> None:
    settings, channels = BACKBONES[kind]
    model = model_of(dict(type=f"mixmae_bench.{kind}", **settings))
    images = torch.randn(2, 3, 32, 32)
    maps = model.backbone(images)
    assert [own.shape[1] for own in maps] == channels
    encoder = model.backbone
    raw = list(encoder.stage_maps(encoder.embed(images)))
    for own, before in zip(maps[:-1], raw[:-1], strict=True):  # normalised, without parameters
        expected = layer_norm(before, before.shape[-1:]).permute(0, 3, 1, 2)
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(maps[-1], encoder.norm(raw[-1]).permute(0, 3, 1, 2))


@pytest.mark.parametrize("name", TIMM)
def test_stages_of_timm_models_are_returned_without_added_layers(name: str) -> None:
    backbone = dict(type="mixmae_bench.TimmBackbone", model=name, model_args=FAMILIES[name], img_size=64)
    model = model_of(dict(backbone, pooled=True))
    images = torch.randn(2, 3, 64, 64)
    maps = model.backbone(images)
    assert [own.shape[1] for own in maps] == TIMM[name]
    raw = model.backbone.forward_intermediates(
        images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
    )
    torch.testing.assert_close(maps[-1], raw[-1])


def test_features_are_means_and_tokens_on_the_grid_of_the_last_map() -> None:
    maps = (torch.randn(2, 3, 4, 8), torch.randn(2, 5, 2, 4))
    found = reduce_maps(maps, ("pooled", "tokens"))
    assert list(found) == names(2, ("pooled", "tokens")) == ["pooled1", "pooled2", "tokens1", "tokens2"]
    torch.testing.assert_close(found["pooled1"], maps[0].mean((2, 3)))
    torch.testing.assert_close(found["tokens2"], maps[1].flatten(2).transpose(1, 2))
    for row in range(2):
        for column in range(4):
            block = maps[0][:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(found["tokens1"][:, 4 * row + column], block.mean((2, 3)))


def test_random_weights_follow_the_seed_and_a_checkpoint_does_not(tmp_path: Path) -> None:
    backbone = dict(type="mixmae_bench.MixMAESwin", **BACKBONES["MixMAESwin"][0])
    first, again, other = (model_of(backbone, seed=seed) for seed in (0, 0, 1))
    hashes = [weights_hash(model.backbone) for model in (first, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    state = {f"backbone.{k}": v for k, v in other.backbone.state_dict().items() if "out_norms" not in k}
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    assert weights_hash(model_of(backbone, tmp_path / "other.pth").backbone) == hashes[2]


def test_the_model_is_frozen_and_in_evaluation_mode() -> None:
    model = model_of(dict(type="mixmae_bench.MixMAESwin", **BACKBONES["MixMAESwin"][0], drop_path_rate=0.5))
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_a_backbone_of_another_package_is_an_error() -> None:
    with pytest.raises(UserError, match=r"mmpretrain\.ResNet is not of this package"):
        model_of(dict(type="mmpretrain.ResNet", depth=18))
