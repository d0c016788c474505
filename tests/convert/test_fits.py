"""Which model a checkpoint fits: told from shapes, every name and shape of it, or refused."""

import resource
import signal
from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mixmae_bench.backbones.loading import load_backbone, load_model, read_state_dict
from mixmae_bench.backbones.official.kinds import registered
from mixmae_bench.backbones.official.shapes import mlp_ratio
from mixmae_bench.cli import main
from mixmae_bench.convert.fits import model_config
from mixmae_bench.registry import MODELS
from mixmae_bench.verify.case import read_cases
from mixmae_bench.verify.models import Classifier

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = {case.name: case for case in read_cases(REFERENCE) if case.group("sd")}
MIXMAE_SWIN = dict(type="mixmae_bench.MixMAESwin", arch="small", img_size=32)
SWIN = dict(
    type="mixmae_bench.Swin",
    arch=dict(embed_dim=8, depths=(2, 2, 1, 2), num_heads=(1, 2, 2, 4)),
    window_size=4,
    img_size=256,
)
PUBLISHED = [
    dict(type="mixmae_bench.MixMAESwin", arch="base", img_size=224),
    dict(type="mixmae_bench.MixMAESwin", arch="huge", img_size=224),
    dict(type="mixmae_bench.MixMAESwin", arch="large_384", img_size=384),
    dict(type="mixmae_bench.Swin", arch="base", window_size=6, img_size=192),
    dict(type="mixmae_bench.Swin", arch="base", window_size=7, img_size=224),
    dict(type="mixmae_bench.Swin", arch="large", window_size=12, img_size=192),
    dict(type="mixmae_bench.Swin", arch="large", window_size=14, img_size=224),
    dict(type="mixmae_bench.UMSwin", arch="tiny"),
    dict(type="mixmae_bench.UMSwin", arch="large"),
    dict(type="mixmae_bench.UMPVT", arch="small", img_size=256),
    dict(type="mixmae_bench.PlainViT", arch="base", img_size=224),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@torch.no_grad()
def filled(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model whose every parameter is random."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:  # frozen tables stay what they are
            nn.init.normal_(parameter)
    return model.state_dict()


def convert(*arguments: str, capsys: pytest.CaptureFixture) -> dict[str, str]:
    """Run the command, which must succeed; return what it printed, by the word in front."""
    assert main(["convert", *arguments]) == 0, capsys.readouterr().err
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line)


def refused(*arguments: str, capsys: pytest.CaptureFixture) -> str:
    """Run the command, which must end in one line with status 2 and write nothing."""
    before = sorted(Path().iterdir())
    assert main(["convert", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    return err


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_printed_config_builds_the_model_that_the_result_fills(
    case: object, capsys: pytest.CaptureFixture
) -> None:
    torch.save({"model": case.group("sd")}, "official.pth")
    fits = convert("official.pth", "ours.pth", capsys=capsys)["fits"]
    config = Config.fromstring(f"model = {fits}", ".py").model
    if config.type == "mmpretrain.ImageClassifier":
        import mmpretrain.models  # noqa: F401

        config.neck.setdefault("_scope_", "mmpretrain")
        config.head["_scope_"] = "mmpretrain"
    load_model(MODELS.build(config), "ours.pth")


@pytest.mark.parametrize("config", PUBLISHED, ids=lambda c: f"{c['type']} {c.get('img_size', '')}")
def test_published_backbones_are_told_by_name(config: dict) -> None:
    with torch.device("meta"):
        state = {f"backbone.{k}": v for k, v in MODELS.build(config).state_dict().items()}
    name = config["type"].removeprefix("mixmae_bench.")
    kind = next(k for k in registered() if k.backbone.name == name and k.fits == "ImageClassifier")
    tables = name in ("MixMAESwin", "UMPVT", "PlainViT")  # a Swin's size is told by its windows
    assert model_config(kind, state, config["img_size"] if tables else None) == config


SMALL = dict(embed_dim=8, depths=(1, 2, 1), num_heads=(1, 2, 4))
DECODER = dict(dim=16, depth=1, num_heads=1)
PYRAMID = dict(embed_dims=(8, 12), depths=(1, 1), num_heads=(1, 1), mlp_ratios=(2.5, 3), sr_ratios=(2, 1))
OTHERS = [
    dict(
        type="mixmae_bench.MixMAE",
        backbone=dict(
            type="mixmae_bench.MixMAESwin",
            arch=dict(SMALL, window_size=(4, 4, 2)),
            img_size=32,
            mlp_ratio=2.5,
            qkv_bias=False,
            patch_norm=False,
        ),
        decoder=dict(DECODER, mlp_ratio=3),
    ),
    dict(
        type="mixmae_bench.SimMIM",
        backbone=dict(
            type="mixmae_bench.Swin",
            arch=SMALL,
            window_size=2,
            img_size=32,
            mlp_ratio=2,
            qkv_bias=False,
            patch_norm=False,
        ),
    ),
    dict(
        type="mixmae_bench.UMMAE",
        backbone=dict(
            type="mixmae_bench.UMSwin",
            arch=dict(SMALL, posmlp_dim=4),
            mlp_ratio=2.3,
            img_size=64,
            window_size=8,
        ),
        decoder=dict(DECODER, mlp_ratio=2.5),
        mask_patch_size=8,
        secondary_mask_ratio=0.25,
    ),
    dict(
        type="mixmae_bench.UMMAE",
        backbone=dict(type="mixmae_bench.UMPVT", arch=PYRAMID, img_size=32),
        decoder=dict(DECODER, mlp_ratio=2),
        mask_patch_size=4,
        secondary_mask_ratio=0.0,
    ),
    dict(
        type="mixmae_bench.UMMAEViT",
        backbone=dict(
            type="mixmae_bench.PlainViT",
            arch=dict(embed_dim=16, depth=1, num_heads=1),
            img_size=32,
            patch_size=8,
            mlp_ratio=3,
        ),
        decoder=dict(DECODER, mlp_ratio=3),
        mask_patch_size=8,
        secondary_mask_ratio=0.25,
    ),
]


@pytest.mark.parametrize("config", OTHERS, ids=lambda c: c["backbone"]["type"])
def test_what_shapes_tell_of_other_arguments_is_told(config: dict, capsys: pytest.CaptureFixture) -> None:
    torch.save({"state_dict": MODELS.build(config).state_dict()}, "run.pth")
    said = convert("run.pth", "ours.pth", "--img-size", str(config["backbone"]["img_size"]), capsys=capsys)
    told = Config.fromstring(f"model = {said['fits']}", ".py").model
    assert {**told, "backbone": dict(told.backbone), "decoder": told.get("decoder")} == {
        **config,
        "decoder": config.get("decoder"),
    }
    defaults = said["not in the file, published values assumed"]
    assert "norm_eps of the backbone" in defaults
    assert ("norm_eps of the decoder" in defaults) == ("decoder" in config)
    load_model(MODELS.build(told), "ours.pth")


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_of_the_images_are_told(channels: int, capsys: pytest.CaptureFixture) -> None:
    model = Classifier({**SWIN, "in_chans": channels}, 10, norm_after_pool=False)
    torch.save({"state_dict": model.state_dict()}, "run.pth")
    assert f"in_chans={channels}" in convert("run.pth", "ours.pth", capsys=capsys)["fits"]


@pytest.mark.parametrize(
    ("widths", "ratio"),
    [(((8, 32),), 4), (((8, 18), (16, 36), (32, 73)), 2.3), (((7, 17),), 2.5), (((3, 8),), 2.7)],
)
def test_a_ratio_is_told_that_gives_all_widths(widths: tuple, ratio: float) -> None:
    assert mlp_ratio([torch.empty(out, width) for width, out in widths]) == ratio


def test_widths_that_no_one_ratio_gives_are_refused() -> None:
    with pytest.raises(ValueError, match="no single mlp_ratio gives"):
        mlp_ratio([torch.empty(16, 8), torch.empty(48, 16)])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_file_that_lacks_any_one_tensor_is_refused(case: object, capsys: pytest.CaptureFixture) -> None:
    """But for vis_mask_token: UM-MAE without secondary masking has none."""
    state = case.group("sd")
    optional = ("relative_position_index", "attn_mask", "vis_mask_token")
    names = [name for name in state if not name.endswith(optional)]
    for name in names[:: max(1, len(names) // 12)]:
        torch.save({k: v for k, v in state.items() if k != name}, "part.pth")
        if name == "absolute_pos_embed":
            continue  # a Swin without one, by its keys
        assert "part.pth" in refused("part.pth", "ours.pth", capsys=capsys), name


def test_a_file_with_a_tensor_of_another_shape_is_refused(capsys: pytest.CaptureFixture) -> None:
    state = CASES["mixmae_ft_a"].group("sd")
    for shape in ((), (3,), (32, 16), (64, 16, 1)):
        changed = {**state, "layers.0.blocks.0.mlp.fc1.weight": torch.zeros(shape)}
        torch.save(changed, "odd.pth")
        assert "does not fit" in refused("odd.pth", "ours.pth", capsys=capsys)


@pytest.mark.parametrize("shape", [(), (0,), (225,), (224, 1), (225, 0), (225, 1, 1)])
def test_a_bias_table_of_odd_shape_is_refused(shape: tuple, capsys: pytest.CaptureFixture) -> None:
    state = CASES["simmim_ft_a"].group("sd")
    torch.save(
        {**state, "layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(shape)}, "odd.pth"
    )
    assert "does not fit" in refused("odd.pth", "ours.pth", capsys=capsys)


@pytest.mark.parametrize(
    "name", ["layers.0.blocks.1.attn_mask", "layers.1.blocks.0.attn.relative_position_index"]
)
def test_a_buffer_that_its_sizes_do_not_explain_is_refused(name: str, capsys: pytest.CaptureFixture) -> None:
    state = CASES["simmim_ft_a"].group("sd")
    torch.save({**state, name: state[name].flip(0)}, "odd.pth")
    assert f"'{name}' does not follow from its sizes" in refused("odd.pth", "ours.pth", capsys=capsys)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(1).expand(16), torch.zeros(16).to_sparse(), torch.zeros(16, device="meta")],
    ids=["expanded", "sparse", "meta"],
)
def test_a_tensor_that_is_not_stored_whole_is_refused(tensor: Tensor, capsys: pytest.CaptureFixture) -> None:
    state = CASES["simmim_ft_a"].group("sd")
    torch.save({**state, "patch_embed.norm.bias": tensor}, "odd.pth")
    assert "'patch_embed.norm.bias'" in refused("odd.pth", "ours.pth", capsys=capsys)


def test_a_size_noted_by_a_stranger_is_not_believed(capsys: pytest.CaptureFixture) -> None:
    state = {k: v for k, v in CASES["simmim_ft_a"].group("sd").items() if not k.endswith("attn_mask")}
    for noted in ("x", "-1", "9" * 30, [1], None):
        torch.save({"state_dict": state, "meta": {"img_size": noted}}, "odd.pth")
        assert "--img-size" in refused("odd.pth", "ours.pth", "--to", "official", capsys=capsys)
    assert "a window of 6 does not divide a grid of 40" in refused(
        "odd.pth", "ours.pth", "--to", "official", "--img-size", "160", capsys=capsys
    )


def test_a_swin_classifier_with_a_position_table_keeps_its_shift_masks(capsys: pytest.CaptureFixture) -> None:
    """Without them its names are those of MixMAE's classifier: the meta of the conversion tells."""
    theirs = CASES["simmim_ft_a"].group("sd")
    torch.save({"model": {**theirs, "absolute_pos_embed": torch.randn(1, 24**2, 16)}}, "official.pth")
    state = read_state_dict("official.pth")
    for suffix in (".pth", ".safetensors"):
        convert("official.pth", f"ours{suffix}", capsys=capsys)
        convert(f"ours{suffix}", f"back{suffix}", "--to", "official", capsys=capsys)
        back = read_state_dict(f"back{suffix}")
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_swin_of_mmpretrain_with_a_position_table_is_no_mixmim(capsys: pytest.CaptureFixture) -> None:
    from mmpretrain.models import SwinTransformer

    arch = dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 2])
    stages = dict(block_cfgs=dict(window_size=2))
    theirs = SwinTransformer(arch, 64, stage_cfgs=stages, use_abs_pos_embed=True)
    state = {f"backbone.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": state}, "theirs.pth")
    said = convert("theirs.pth", "ours.pth", capsys=capsys)
    assert said["found"] == "Swin fine-tuning (microsoft/SimMIM), mmpretrain Swin names"


def test_a_stranger_with_the_name_of_a_buffer_is_refused(capsys: pytest.CaptureFixture) -> None:
    torch.save({**CASES["simmim_ft_a"].group("sd"), "my.attn_mask": torch.ones(2)}, "odd.pth")
    assert "does not have my.attn_mask" in refused("odd.pth", "ours.pth", capsys=capsys)


@pytest.mark.parametrize("size", ["0", "-96"])
def test_a_size_below_one_pixel_is_refused(size: str, capsys: pytest.CaptureFixture) -> None:
    torch.save(CASES["simmim_ft_a"].group("sd"), "official.pth")
    message = refused("official.pth", "ours.pth", "--img-size", size, capsys=capsys)
    assert f"--img-size is {size}; give pixels per side" in message


@pytest.mark.parametrize("name", ["ours.pth", "ours.safetensors"])
def test_a_file_that_cannot_be_written_is_one_line(name: str, capsys: pytest.CaptureFixture) -> None:
    torch.save(CASES["simmim_ft_a"].group("sd"), "official.pth")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        assert f"{name} cannot be written: " in refused("official.pth", name, capsys=capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_an_encoder_alone_fills_ours_and_comes_back(capsys: pytest.CaptureFixture) -> None:
    """As MAE's and mmdet's authors publish them, and timm without a head."""
    theirs = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=256,
        window_size=4,
        embed_dim=8,
        depths=(2, 2, 1, 2),
        num_heads=(1, 2, 2, 4),
        num_classes=0,
    )
    torch.save(filled(theirs), "timm.pth")
    fits = convert("timm.pth", "ours.pth", "--img-size", "256", capsys=capsys)["fits"]
    assert fits.startswith("dict(type='mixmae_bench.Swin', arch=dict(embed_dim=8, ")
    assert load_backbone(MODELS.build(SWIN), "ours.pth")["filled"] == 100
    convert("ours.pth", "official.pth", "--to", "official", capsys=capsys)
    names = read_state_dict("official.pth")
    assert "layers.0.downsample.reduction.weight" in names
    assert names["layers.0.blocks.1.attn_mask"].shape == (256, 16, 16)
    convert("timm.pth", "direct.pth", "--to", "official", "--img-size", "256", capsys=capsys)
    direct = read_state_dict("direct.pth")
    assert direct.keys() == names.keys()
    assert all(torch.equal(direct[name], names[name]) for name in names)

    vit = {
        k: v for k, v in CASES["umvit_pre_a"].group("sd").items() if "decoder" not in k and "mask" not in k
    }
    torch.save({"model": vit}, "vit.pth")
    assert convert("vit.pth", "vit_ours.pth", capsys=capsys)["fits"].startswith(
        "dict(type='mixmae_bench.PlainViT'"
    )
    convert("vit_ours.pth", "vit_back.pth", "--to", "official", capsys=capsys)
    back = read_state_dict("vit_back.pth")
    assert back.keys() == vit.keys()
    assert all(torch.equal(back[name], vit[name]) for name in vit)


@torch.no_grad()
@pytest.mark.parametrize("of_a_detector", [False, True])
def test_swin_of_mmdet_gives_the_same_maps(of_a_detector: bool, capsys: pytest.CaptureFixture) -> None:
    """Windows shift, and every stage is normalised. mmdet masks by -100, not -inf."""
    from mmdet.models.backbones import SwinTransformer

    theirs = SwinTransformer(embed_dims=8, depths=(2, 2, 1, 2), num_heads=(1, 2, 2, 4), window_size=4)
    theirs.eval()
    state = filled(theirs)
    for name in ("qkv.weight", "proj.weight", "fc", "ffn"):
        for key in state:
            state[key].mul_(0.2) if name in key and key.endswith("weight") else None
    if of_a_detector:
        state = {f"backbone.{name}": tensor for name, tensor in state.items()}
        state |= {"neck.fpn_convs.0.conv.weight": torch.ones(1), "rpn_head.rpn_cls.weight": torch.ones(1)}
    torch.save({"state_dict": state}, "mmdet.pth")
    said = convert("mmdet.pth", "ours.pth", capsys=capsys)
    assert said.get("dropped") == (
        "neck.fpn_convs.0.conv.weight, rpn_head.rpn_cls.weight" if of_a_detector else None
    )
    ours = MODELS.build({**SWIN, "out_indices": (0, 1, 2, 3)}).eval()
    assert load_backbone(ours, "ours.pth") == dict(filled=100, resized=[], missing=[], left_out=[])
    images = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    for mine, map_ in zip(ours(images), theirs(images), strict=True):
        assert map_.std() > 0.1
        torch.testing.assert_close(mine, map_, rtol=0, atol=1e-4)
    said = convert("ours.pth", "official.pth", "--to", "official", "--img-size", "256", capsys=capsys)
    assert said["dropped"].startswith("out_norms.0.")


def test_a_model_that_no_official_code_has_stays_ours(capsys: pytest.CaptureFixture) -> None:
    """SimMIM on MixMAE's encoder has the keys of SimMIM on a Swin that learns its positions."""
    model = MODELS.build(dict(type="mixmae_bench.SimMIM", backbone=MIXMAE_SWIN, mask_patch_size=8))
    torch.save({"state_dict": filled(model)}, "run.pth")
    fits = convert("run.pth", "ours.safetensors", capsys=capsys)["fits"]
    assert "backbone=dict(type='mixmae_bench.MixMAESwin', arch='small', img_size=32)" in fits
    message = refused("run.pth", "official.pth", "--to", "official", capsys=capsys)
    assert "SimMIM on MixMAESwin, which microsoft/SimMIM does not have" in message


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"fc_norm.weight": torch.ones(48), "head.weight": torch.ones(10, 48)}, "a fine-tuned ViT"),
        ({"blocks.0.attn.cpb_mlp.0.weight": torch.ones(2)}, "Swin V2"),
    ],
)
def test_what_no_backbone_here_can_hold_is_refused_by_name(
    extra: dict, reason: str, capsys: pytest.CaptureFixture
) -> None:
    state = {
        k: v for k, v in CASES["umvit_pre_a"].group("sd").items() if "decoder" not in k and "mask" not in k
    }
    torch.save({**state, **extra}, "vit.pth")
    assert reason in refused("vit.pth", "ours.pth", capsys=capsys)


def test_fitting_the_backbone_of_another_method_is_refused(capsys: pytest.CaptureFixture) -> None:
    """Its tensors are all there and of the same shapes, but its windows would shift."""
    case = CASES["mixmae_ft_a"]
    torch.save(case.group("sd"), "official.pth")
    arch = dict(embed_dim=16, depths=(1, 2, 2, 1), num_heads=(1, 2, 4, 8))
    backbone = dict(type="mixmae_bench.Swin", arch=arch, window_size=8, img_size=128, ape=True)
    Path("swin.py").write_text(f"model = dict(backbone={backbone!r})\n", encoding="utf-8")
    message = refused("official.pth", "ours.pth", "--fit", "swin.py", capsys=capsys)
    assert "does not fit swin.py: it is for MixMAESwin, not for Swin" in message


def test_fitting_a_deeper_backbone_is_refused(capsys: pytest.CaptureFixture) -> None:
    torch.save(CASES["mixmae_ft_a"].group("sd"), "official.pth")
    arch = dict(embed_dim=16, depths=(1, 2, 3, 1), num_heads=(1, 2, 4, 8), window_size=(8, 8, 8, 4))
    backbone = dict(type="mixmae_bench.MixMAESwin", arch=arch, img_size=128)
    Path("deeper.py").write_text(f"model = dict(backbone={backbone!r})\n", encoding="utf-8")
    message = refused("official.pth", "ours.pth", "--fit", "deeper.py", capsys=capsys)
    assert "does not fit deeper.py: it lacks layers.2.blocks.2." in message


def test_a_classifier_of_ours_is_told(capsys: pytest.CaptureFixture) -> None:
    model = Classifier({**SWIN}, 10, norm_after_pool=False)
    torch.save({"state_dict": filled(model), "meta": {"epoch": 1}}, "run.pth")
    fits = convert("run.pth", "ours.pth", "--img-size", "256", capsys=capsys)["fits"]
    assert "head=dict(type='LinearClsHead', num_classes=10, in_channels=64)" in fits
