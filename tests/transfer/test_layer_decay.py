"""Layer-wise learning rate decay: what each parameter gets, in all tasks, and what is refused.

That the published recipes come out parameter by parameter is checked by `mixmae-bench verify`.
"""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope
from torch import nn

from mixmae_bench.backbones.swin import Swin
from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.methods.simmim import SimMIM
from mixmae_bench.registry import MODELS
from mixmae_bench.transfer.layer_decay import LayerDecayOptimWrapperConstructor, summary

CONFIGS = Path(__file__).parents[2] / "configs"
ARCH = dict(embed_dim=8, depths=(1, 2, 1), num_heads=(2, 2, 4), window_size=(4, 4, 2))
SWIN = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))  # mmpretrain's
LR, DECAY = 1e-3, 0.05


class Model(nn.Module):
    """A backbone with a neck and a head, as in every task."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = nn.Conv2d(4, 4, 1)
        self.head = nn.Module()
        self.head.fc = nn.Linear(4, 2)


def mixmae() -> Model:
    return Model(MODELS.build(dict(type="mixmae_bench.MixMAESwin", arch=ARCH, img_size=32)))


def wrap(model: nn.Module, wrapper: dict | None = None, **paramwise_cfg) -> OptimWrapper:
    """Build the optimiser wrapper from a config, as a Runner does."""
    return build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type="AdamW", lr=LR, weight_decay=DECAY),
            constructor="mixmae_bench.LayerDecayOptimWrapperConstructor",
            paramwise_cfg=paramwise_cfg,
            **(wrapper or dict(type="OptimWrapper")),
        ),
    )


def rules(model: nn.Module, wrapper: OptimWrapper) -> dict[str, tuple[float, float]]:
    """Return (lr / base lr, weight decay) of every parameter that the optimiser has, each once."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = [
        (names[id(p)], (group["lr"] / LR, group["weight_decay"]))
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_scale_falls_with_every_block_and_what_is_outside_the_backbone_has_1() -> None:
    model = mixmae()
    found = rules(model, wrap(model, layer_decay_rate=0.5))
    expected = {
        "backbone.patch_embed.proj.weight": (0.5**5, DECAY),
        "backbone.patch_embed.norm.weight": (0.5**5, 0),
        "backbone.layers.0.blocks.0.attn.qkv.weight": (0.5**4, DECAY),
        "backbone.layers.0.downsample.reduction.weight": (0.5**3, DECAY),
        "backbone.layers.1.blocks.0.attn.qkv.bias": (0.5**3, 0),
        "backbone.layers.1.blocks.1.attn.relative_position_bias_table": (0.5**2, DECAY),
        "backbone.layers.1.downsample.norm.weight": (0.5, 0),
        "backbone.layers.2.blocks.0.mlp.fc2.weight": (0.5, DECAY),
        "backbone.norm.weight": (0.5, 0),
        "neck.weight": (1, DECAY),
        "neck.bias": (1, 0),
        "head.fc.weight": (1, DECAY),
    }
    assert {name: found[name] for name in expected} == expected


def test_only_trained_parameters_are_optimised() -> None:
    model = mixmae()
    model.backbone.layers[0].requires_grad_(False)
    found = rules(model, wrap(model, layer_decay_rate=0.5))
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert "backbone.absolute_pos_embed" not in found


def test_head_decays_gives_all_outside_the_backbone_the_last_blocks_scale() -> None:
    model = mixmae()
    found = rules(model, wrap(model, layer_decay_rate=0.5, head_decays=True))
    assert found["head.fc.weight"] == found["neck.weight"] == (0.5, DECAY)
    assert found["backbone.layers.2.blocks.0.mlp.fc2.weight"] == (0.5, DECAY)


def test_no_decay_spares_names_by_their_last_parts_and_nothing_else() -> None:
    model = mixmae()
    plain = rules(model, wrap(model))
    found = rules(model, wrap(model, no_decay=["relative_position_bias_table", "head.fc.weight"]))
    changed = {name for name in plain if plain[name] != found[name]}
    tables = {name for name in plain if name.endswith("relative_position_bias_table")}
    assert len(tables) == 4
    assert changed == tables | {"head.fc.weight"}
    assert {found[name] for name in changed} == {(1, 0)}


def test_pretraining_has_no_lr_decay_and_spares_what_is_flat() -> None:
    """The decoder's and the method's own tokens too: they are 3-D, so decayed (M10), unless named (S3)."""
    backbone = dict(type="mixmae_bench.Swin", arch=ARCH, window_size=4, img_size=32, ape=True)
    model = SimMIM(
        {**backbone, "arch": {k: v for k, v in ARCH.items() if k != "window_size"}}, mask_patch_size=16
    )
    found = rules(model, wrap(model))
    assert {scale for scale, _ in found.values()} == {1}
    assert found["mask_token"] == found["backbone.absolute_pos_embed"] == (1, DECAY)
    assert {name for name, p in model.named_parameters() if p.ndim > 1} == {
        name for name in found if found[name][1]
    }
    no_decay = rules(model, wrap(model, no_decay=["absolute_pos_embed", "mask_token"]))
    assert {k for k in found if found[k] != no_decay[k]} == {"mask_token", "backbone.absolute_pos_embed"}


def test_in_simmims_swin_a_downsample_belongs_to_the_block_before_it_and_the_norm_to_the_head() -> None:
    swin = Swin(dict(embed_dim=8, depths=(1, 2, 1), num_heads=(1, 1, 1)), 4, 32, out_indices=(0, 2))
    depths = {
        name: swin.get_layer_depth(f"backbone.{name}", "backbone.") for name, _ in swin.named_parameters()
    }
    assert (
        depths["layers.0.downsample.reduction.weight"] == depths["layers.0.blocks.0.norm1.weight"] == (1, 6)
    )
    assert depths["layers.1.downsample.norm.bias"] == depths["layers.1.blocks.1.norm1.weight"] == (3, 6)
    assert depths["norm.weight"] == depths["out_norms.0.weight"] == (5, 6)
    assert swin.get_layer_depth("neck.downsample.conv.weight", "backbone.") == (5, 6)


@pytest.mark.parametrize(
    "config",
    [
        "classification/mixmae-swin-small_1xb50-40e_digits.py",
        "detection/mask-rcnn_mixmae-swin-small_1xb8-24e_digits.py",
        "segmentation/upernet_mixmae-swin-small_1xb32-12e_digits.py",
    ],
)
def test_models_of_all_three_tasks_get_the_same_rules(config: str) -> None:
    cfg = load_config(CONFIGS / config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT.build(cfg.model)
        found = rules(model, wrap(model, layer_decay_rate=0.5))
    blocks = [found[f"backbone.layers.{s}.blocks.{b}.mlp.fc1.weight"][0] for s, b in ((0, 0), (0, 1), (1, 3))]
    assert blocks == pytest.approx([0.5**6, 0.5**5, 0.5])
    outside = {name: rule for name, rule in found.items() if not name.startswith("backbone.")}
    assert outside
    for name, rule in outside.items():
        flat = model.get_parameter(name).ndim <= 1
        assert rule == (1, 0 if flat else DECAY)


@pytest.mark.parametrize(
    ("backbone", "first", "last"),
    [
        (dict(type="SwinTransformer", arch=SWIN), "stages.0.blocks.0.norm1.weight", "norm3.weight"),
        (dict(type="VisionTransformer", arch="deit-tiny"), "layers.0.ln1.weight", "ln1.weight"),
        (
            dict(type="ConvNeXt", arch=dict(depths=(1, 1, 1, 1), channels=(4, 8, 16, 32))),
            "stages.0.0.gamma",
            "norm3.weight",
        ),
    ],
)
def test_mmpretrains_backbones_work_too(backbone: dict, first: str, last: str) -> None:
    import mmpretrain.models  # noqa: F401

    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = Model(ROOT.build(backbone))
    found = rules(model, wrap(model, layer_decay_rate=0.5))
    assert found["head.fc.weight"] == (1, DECAY)
    assert found[f"backbone.{first}"][0] < found[f"backbone.{last}"][0] <= 1


def test_groups_are_merged() -> None:
    groups = wrap(mixmae(), layer_decay_rate=0.5).optimizer.param_groups
    keys = [(group["lr_scale"], group["weight_decay"]) for group in groups]
    assert len(keys) == len(set(keys)) == 12  # six depths, with and without weight decay
    assert all(group["lr"] == LR * group["lr_scale"] for group in groups)
    assert len(wrap(mixmae()).optimizer.param_groups) == 2


def test_ratios_hold_under_schedules_and_accumulation() -> None:
    model = mixmae()
    wrapper = wrap(model, dict(type="OptimWrapper", accumulative_counts=2), layer_decay_rate=0.5)
    schedules = [
        LinearLR(wrapper, start_factor=0.01, end=4, by_epoch=False),
        CosineAnnealingLR(wrapper, T_max=7, begin=4, end=12, eta_min_ratio=0.01, by_epoch=False),
    ]
    seen = []
    for _ in range(13):
        for _ in range(2):
            wrapper.update_params(sum(p.sum() for p in model.parameters()))
        for schedule in schedules:
            schedule.step()
        groups = wrapper.optimizer.param_groups
        base = [group["lr"] / group["lr_scale"] for group in groups]
        assert base == pytest.approx([base[0]] * len(base))
        seen.append(base[0])
    assert max(seen) == pytest.approx(LR)
    assert seen[-1] == pytest.approx(0.01 * LR)


def test_a_step_moves_parameters_by_their_own_learning_rate() -> None:
    """AdamW's first step has the length of the learning rate, whatever the gradient."""
    model = mixmae()
    wrapper = wrap(model, layer_decay_rate=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper.update_params(sum(p.sum() for p in model.parameters() if p.requires_grad))
    for name, (scale, decay) in rules(model, wrapper).items():
        p = before[name] * (1 - LR * scale * decay)
        torch.testing.assert_close(model.get_parameter(name), p - LR * scale, rtol=0, atol=1e-6)


def test_it_works_with_mixed_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    model = mixmae()
    wrapper = wrap(model, dict(type="AmpOptimWrapper", loss_scale=1.0), layer_decay_rate=0.5)
    assert type(wrapper).__name__ == "AmpOptimWrapper"
    assert rules(model, wrapper) == rules(model, wrap(model, layer_decay_rate=0.5))


def test_the_table_has_a_line_per_learning_rate() -> None:
    model = mixmae()
    text = summary(model, wrap(model, layer_decay_rate=0.5).optimizer)
    rows = [line.split() for line in text.splitlines()[2:]]
    assert [row[0] for row in rows] == [f"{0.5**n:.6f}" for n in (5, 4, 3, 2, 1, 0)] + ["frozen"]
    assert rows[0][4] == "backbone.patch_embed.proj.weight"
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(int(row[1]) for row in rows[:-1]) == len(trained)
    assert sum(int(row[2].replace(",", "")) for row in rows[:-1]) == sum(p.numel() for p in trained)
    assert rows[-2][1:4] == [
        "4",
        "30",
        "20.00%",
    ]  # neck and head: 16 + 4 + 8 + 2 parameters, 6 of them biases
    assert rows[-1][1:] == ["1", "512"]


def test_the_table_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), "log", lambda level, text: lines.append(text))
    wrap(mixmae(), layer_decay_rate=0.5)
    assert sum(line.startswith("learning rates per layer:") for line in lines) == 1


@pytest.mark.parametrize(
    ("paramwise_cfg", "message"),
    [
        (dict(layer_decay=0.7), "no option 'layer_decay'.*Did you mean 'layer_decay_rate'"),
        (dict(custom_keys={}), "no option 'custom_keys'"),
        (dict(layer_decay_rate=0.0), "layer_decay_rate is 0.0"),
        (dict(layer_decay_rate=1.1), "layer_decay_rate is 1.1"),
        (dict(layer_decay_rate="0.7"), "layer_decay_rate is '0.7'"),
        (dict(no_decay=["rel_pos"]), "no_decay has 'rel_pos'"),
        (dict(no_decay=["absolute_pos_embed"]), "no_decay has 'absolute_pos_embed'"),  # frozen
        (dict(no_decay=["bias_table"]), "no_decay has 'bias_table'"),
        (dict(no_decay="head.fc.weight"), "give a list"),
    ],
)
def test_a_wrong_option_is_refused(paramwise_cfg: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        wrap(mixmae(), **paramwise_cfg)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_an_optimiser_without_a_written_value_is_refused(key: str) -> None:
    optimizer = dict(type="AdamW", lr=LR, weight_decay=DECAY)
    del optimizer[key]
    with pytest.raises(UserError, match=f"no {key}"):
        LayerDecayOptimWrapperConstructor(dict(optimizer=optimizer))


@pytest.mark.parametrize("backbone", [nn.Linear(2, 2), None])
def test_a_backbone_without_layer_depths_is_refused(backbone: nn.Module | None) -> None:
    with pytest.raises(UserError, match="no get_layer_depth"):
        wrap(Model(backbone), layer_decay_rate=0.5)


def test_a_rate_that_reaches_no_parameter_is_refused() -> None:
    model = mixmae()
    model.backbone.requires_grad_(False)
    with pytest.raises(UserError, match="MixMAESwin has no trained parameter below"):
        wrap(model, layer_decay_rate=0.5)
    assert len(rules(model, wrap(model))) == 4


@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_the_swin_of_another_package_which_says_no_depths_is_refused_by_name(package: str) -> None:
    swin = import_module(f"{package}.models.backbones.swin").SwinTransformer
    backbone = swin(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    with pytest.raises(UserError, match="SwinTransformer, the backbone of Model, has no get_layer_depth"):
        wrap(Model(backbone), layer_decay_rate=0.5)
