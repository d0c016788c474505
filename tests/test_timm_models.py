"""MixMAE's encoders in timm: what `create_model` promises, official weights, the encoder's own maps."""

import os
from pathlib import Path

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import Tensor, nn

import mixmae_bench.timm_models  # noqa: F401 (registers the models)
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.verify.case import Case, read_cases

SIZES = {  # of the official fine-tuning models, and their input
    "mixmae_swin_base_w14_224": (88_344_352, 224),
    "mixmae_swin_base_w16_384": (89_577_440, 384),
    "mixmae_swin_large_w14_224": (197_396_668, 224),
    "mixmae_swin_large_w16_384": (199_246_300, 384),
    "mixmae_swin_huge_w14_224": (659_262_658, 224),
}
SMALL = dict(embed_dim=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4), window_size=(4, 4, 2, 1))
CASE = next(case for case in read_cases(Path(__file__).parent / "reference") if case.name == "mixmae_ft_a")


def create(seed: int = 0, **kwargs) -> nn.Module:
    """A small model, made through timm."""
    torch.manual_seed(seed)
    options = {**dict(arch=SMALL, img_size=32, num_classes=5), **kwargs}
    return timm.create_model("mixmae_swin_base_w14_224", **options).eval()


def create_recorded(case: Case, **kwargs) -> nn.Module:
    official = case.info["constructor"]
    arch = {key: official[key] for key in ("embed_dim", "depths", "num_heads", "window_size")}
    options = dict(arch=arch, img_size=official["img_size"], num_classes=official["num_classes"])
    return create(**{**options, **kwargs})


def images(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def test_timm_lists_the_models() -> None:
    assert set(timm.list_models("mixmae*")) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_full_models_have_the_published_sizes(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    parameters, size = SIZES[name]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert resolve_data_config(model=model)["input_size"] == (3, size, size)
    assert model.grid == (size // 4, size // 4)
    windows = [stage.blocks[0].attn.window_size for stage in model.layers]
    assert windows == ([14, 14, 14, 7] if size == 224 else [16, 16, 24, 12])


def test_an_official_checkpoint_gives_the_recorded_logits(tmp_path: Path) -> None:
    torch.save({"model": CASE.group("sd"), "epoch": 99}, tmp_path / "official.pth")
    model = create_recorded(CASE, checkpoint_path=str(tmp_path / "official.pth"))
    with torch.no_grad():
        features = model.forward_features(CASE.tensors["in/x"])
        logits = model(CASE.tensors["in/x"])
    torch.testing.assert_close(logits, CASE.tensors["out/logits"], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.flatten(1, 2), CASE.tensors["out/final_norm"], rtol=0, atol=2e-5)


def test_an_official_checkpoint_resizes_its_tables_and_a_misfit_is_refused(tmp_path: Path) -> None:
    torch.save({"model": CASE.group("sd")}, tmp_path / "official.pth")
    model = create_recorded(CASE, img_size=160, checkpoint_path=str(tmp_path / "official.pth"))
    assert model.absolute_pos_embed.shape[1] == 40 * 40
    torch.testing.assert_close(model.head.weight, CASE.tensors["sd/head.weight"])
    with pytest.raises(RuntimeError, match=r"head\.weight"):
        create_recorded(CASE, num_classes=3, checkpoint_path=str(tmp_path / "official.pth"))


class MakesFolder:
    """Unpickles as a call of os.mkdir."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.folder,)


def test_a_checkpoint_with_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    torch.save({"model": CASE.group("sd"), "args": MakesFolder(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(RuntimeError, match="weights_only"):
        create_recorded(CASE, checkpoint_path=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_pretrained_weights_from_a_file_fit_another_head_and_feature_extraction(tmp_path: Path) -> None:
    torch.save({"model": CASE.group("sd")}, tmp_path / "official.pth")
    recorded = CASE.info["constructor"]["num_classes"]
    source = dict(file=str(tmp_path / "official.pth"), num_classes=recorded)
    options = dict(pretrained=True, pretrained_cfg_overlay=source)
    model = create_recorded(CASE, num_classes=3, **options)
    features = create_recorded(CASE, features_only=True, **options)
    for encoder in (model, features.model):
        assert torch.equal(
            encoder.layers[0].blocks[0].mlp.fc1.weight, CASE.tensors["sd/layers.0.blocks.0.mlp.fc1.weight"]
        )
    assert model.head.weight.shape[0] == 3


def test_features_only_gives_four_maps() -> None:
    with torch.device("meta"):
        full = timm.create_model("mixmae_swin_base_w14_224", features_only=True)
    assert full.feature_info.channels() == [128, 256, 512, 1024]
    assert full.feature_info.reduction() == [4, 8, 16, 32]
    maps = create(features_only=True)(images(64, 96))
    assert [tuple(m.shape) for m in maps] == [(2, 8 * 2**i, 16 // 2**i, 24 // 2**i) for i in range(4)]


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (45, 30)])
def test_maps_are_the_encoders_own(size: tuple[int, int]) -> None:
    model, encoder = create(), MixMAESwin(SMALL, 32).eval()
    encoder.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head.")})
    features = create(features_only=True)
    with torch.no_grad():
        own = [m.permute(0, 3, 1, 2) for m in encoder.encode(encoder.embed(images(*size)))]
        final, maps = model.forward_intermediates(images(*size), norm=True)
        raw = features(images(*size))
        only = create(features_only=True, out_indices=(0, -2))(images(*size))
        early = model.forward_intermediates(images(*size), [1], stop_early=True, intermediates_only=True)
        last = model.forward_intermediates(images(*size), 1, intermediates_only=True)
        assert torch.equal(final, model.forward_features(images(*size)))
    for ours, theirs in zip(maps, own, strict=True):
        assert torch.equal(ours, theirs)
    for i in range(3):
        assert torch.equal(raw[i], own[i])
    assert torch.equal(only[0], own[0])
    assert torch.equal(only[1], own[2])
    assert torch.equal(early[0], own[1])
    assert torch.equal(last[0], raw[3])
    assert not torch.equal(raw[3], own[3])  # without norm, as in timm's other models
    normalised = model.norm(raw[3].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(normalised, own[3])


def test_unneeded_stages_are_dropped() -> None:
    features = create(features_only=True, out_indices=(0, 1))
    assert len(features.model.layers) == 2
    names = [name for name, _ in features.named_parameters()]
    assert not [
        name for name in names if name.startswith(("model.head", "model.norm", "model.layers.1.down"))
    ]
    loss = sum(m.square().mean() for m in features(images(32, 32)))
    loss.backward()
    assert [name for name, p in features.named_parameters() if p.requires_grad and p.grad is None] == []


def test_stop_early_leaves_later_stages_out() -> None:
    model = create()
    model.layers[2].blocks = None
    final, maps = model.forward_intermediates(images(32, 32), [0, 1], norm=True, stop_early=True)
    assert len(maps) == 2
    assert torch.equal(final.permute(0, 3, 1, 2), maps[1])


def test_the_head_can_be_taken_off_and_replaced() -> None:
    model = create()
    assert model.get_classifier() is model.head
    features = model.forward_features(images(32, 32))
    pooled = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(pooled, features.mean((1, 2)))
    torch.testing.assert_close(model.forward_head(features), model.head(pooled))
    model.reset_classifier(9)
    assert model(images(32, 32)).shape == (2, 9)
    model.reset_classifier(0)
    torch.testing.assert_close(model(images(32, 32)), pooled)
    model.reset_classifier(0, "")
    assert torch.equal(model(images(32, 32)), features)
    assert model.num_classes == 0
    assert model.num_features == model.head_hidden_size == 64


def test_layer_decay_of_timm_gives_the_encoders_depths() -> None:
    """And the official scales, but for the head, to which timm gives 1 where MixMAE has 0.7 (M10)."""
    model = create()
    names = {id(p): name for name, p in model.named_parameters()}
    groups = param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.5)
    scales = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    expected = {}
    for name in scales:
        depth, num_depths = model.get_layer_depth(f"backbone.{name}", "backbone.")
        expected[name] = 1 if name.startswith("head.") else 0.5 ** (num_depths - 1 - depth)
    assert scales == expected
    assert len(set(scales.values())) == 7
    table = model.layers[0].blocks[0].attn.relative_position_bias_table
    (decayed,) = [group["weight_decay"] for group in groups for p in group["params"] if p is table]
    assert decayed == 0.05


def test_it_trains() -> None:
    model = create(drop_path_rate=0.2, drop_rate=0.1).train()
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-2, layer_decay=0.9)
    labels, losses = torch.tensor([1, 3]), []
    for _ in range(10):
        loss = nn.functional.cross_entropy(model(images(32, 32)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert model.layers[3].blocks[0].drop_path.drop_prob == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(img_size=(32, 64)), "img_size is .* square"),
        (dict(window_size=(4, 2)), "window_size is .* square"),
        (dict(window_size=(4, 4, 4)), "must be one window size or one for each of 4 stages"),
        (dict(window_size=0), "give positive numbers"),
        (dict(dynamic_img_size=False), "supports any input size"),
    ],
)
def test_what_it_cannot_do_is_an_error(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(**options)


def test_output_stride_is_refused_as_by_swin_of_timm() -> None:
    for name in ("mixmae_swin_base_w14_224", "swin_tiny_patch4_window7_224"):
        with pytest.raises(TypeError, match="output_stride"):
            timm.create_model(name, features_only=True, output_stride=16)


def test_it_takes_images_of_one_channel_and_pretrained_weights_summed_over_channels(tmp_path: Path) -> None:
    source = create()
    torch.save(source.state_dict(), tmp_path / "rgb.pth")
    pretrained = dict(file=str(tmp_path / "rgb.pth"), num_classes=5)
    grey = images(32, 32)[:, :1]
    for options in (
        dict(checkpoint_path=str(tmp_path / "rgb.pth")),
        dict(pretrained=True, pretrained_cfg_overlay=pretrained),
    ):
        model = create(1, in_chans=1, **options)
        assert model.in_chans == 1
        with torch.no_grad():
            torch.testing.assert_close(model(grey), source(grey.expand(-1, 3, -1, -1)))
    assert create(in_chans=4)(torch.zeros(1, 4, 32, 32)).shape == (1, 5)
    assert create(in_chans=1, features_only=True)(grey)[0].shape == (2, 8, 8, 8)


def test_checkpointing_of_activations_is_switched_on_and_off_and_changes_no_gradient() -> None:
    gradients = []
    for enable in (False, True):
        model = create().train()
        model.set_grad_checkpointing(enable)
        assert model.with_cp is enable
        model(images(32, 32)).square().sum().backward()
        gradients.append(model.patch_embed.proj.weight.grad)
    torch.testing.assert_close(*gradients)
    model.set_grad_checkpointing(False)
    assert model.with_cp is False


def test_another_input_size_gives_the_model_made_for_it_with_the_tables_resized() -> None:
    """As `load_state_dict` resizes them: windows grow with the grid, as in timm's Swin."""
    model, larger = create(), create(1, img_size=64, window_size=(8, 8, 4, 2))
    larger.load_state_dict(model.state_dict())
    model.set_input_size((64, 64))
    assert model.grid == larger.grid == (16, 16)
    assert model.windows() == larger.windows() == [8, 8, 4, 2]
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in larger.state_dict().items()
    }
    with torch.no_grad():
        torch.testing.assert_close(model(images(64, 64)), larger(images(64, 64)))
    assert not model.absolute_pos_embed.requires_grad
    assert model.layers[0].blocks[0].attn.relative_position_bias_table.requires_grad
    assert resolve_data_config(model=model)["input_size"] in ((3, 64, 64), (3, 224, 224))  # newer timm, older

    model.set_input_size(img_size=32)
    assert model.windows() == [4, 4, 2, 1]
    model.set_input_size(img_size=64, window_size=4)
    assert model.windows() == [4, 4, 4, 2]  # at most the map
    model.set_input_size(window_ratio=8)
    assert model.windows() == [2, 2, 2, 2]
    model.set_input_size(img_size=128)
    assert model.windows() == [4, 4, 4, 4]


def test_the_same_input_size_changes_nothing() -> None:
    model = create()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.set_input_size(img_size=32, patch_size=4)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_another_patch_size_resamples_the_embedding() -> None:
    model = create()
    model.set_input_size(img_size=64, patch_size=8)
    assert model.out_strides == [8, 16, 32, 64]
    assert [info["reduction"] for info in model.feature_info] == [8, 16, 32, 64]
    small, large = torch.full((1, 3, 32, 32), 0.7), torch.full((1, 3, 64, 64), 0.7)
    with torch.no_grad():
        torch.testing.assert_close(model(large), create()(small), rtol=1e-4, atol=1e-5)
        loaded = create(1, img_size=64, patch_size=8)
        loaded.load_state_dict(create().state_dict())
        torch.testing.assert_close(loaded(large), model(large))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(img_size=(32, 64)), "square"),
        (dict(img_size=40), "40 is not a multiple of 32"),
        (dict(window_size=(2, 2, 2)), "4 stages"),
        (dict(always_partition=True), "always_partition"),
    ],
)
def test_an_input_size_that_does_not_fit_changes_nothing(options: dict, message: str) -> None:
    model = create()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        model.set_input_size(**options)
    assert model.windows() == [4, 4, 2, 1]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("scriptable", [False, True])
@pytest.mark.parametrize("exportable", [False, True])
def test_flags_of_create_model_are_taken(scriptable: bool, exportable: bool) -> None:
    model = create(scriptable=scriptable, exportable=exportable, dtype=torch.float64, device="cpu")
    assert model(images(32, 32).double()).dtype == torch.float64


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "fast"])
def test_it_pools_by_the_names_of_timm(pool: str) -> None:
    assert create(global_pool=pool)(images(32, 32)).shape == (2, 5)
    assert create(global_pool="", num_classes=0)(images(32, 32)).shape == (2, 1, 1, 64)
