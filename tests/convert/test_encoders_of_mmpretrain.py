"""Pretraining checkpoints of mmpretrain become backbones of timm with the same outputs."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from mixmae_bench.backbones.backbone import Backbone
from mixmae_bench.backbones.loading import read_state_dict
from mixmae_bench.backbones.timm_checkpoints import SHARED_TABLE
from mixmae_bench.cli import main
from mixmae_bench.convert.fits import snippet
from mixmae_bench.registry import MODELS

TIMM = dict(type="mixmae_bench.TimmBackbone")
PIXELS = dict(type="PixelReconstructionLoss", criterion="L2")


def spark(backbone: dict, width: int, norm: dict) -> dict:
    """Return the config of SparK for images of 64 px, with a narrow decoder."""
    return dict(
        type="SparK",
        input_size=64,
        enc_dec_norm_cfg=norm,
        enc_dec_norm_dim=width,
        backbone=dict(out_indices=[0, 1, 2, 3], **backbone),
        neck=dict(type="SparKLightDecoder", feature_dim=64, upsample_ratio=32, mid_channels=0),
        head=dict(type="SparKPretrainHead", loss=PIXELS),
    )


def hivit(method: str, backbone: str, neck: dict) -> tuple[dict, dict]:
    """Return a method on a HiViT of few blocks for images of 64 px, and our backbone."""
    # mmpretrain's output index, the last of the third stage, must not be one of the eight blocks before.
    depths, heads = [1, 2, 9], 2
    theirs = dict(
        type=method,
        backbone=dict(
            type=backbone, arch=dict(embed_dims=128, depths=depths, num_heads=heads), img_size=64, rpe=False
        ),
        neck=dict(
            **neck,
            embed_dim=128,
            num_patches=16,
            decoder_embed_dim=64,
            decoder_depth=1,
            decoder_num_heads=2,
        ),
        head=dict(type="MAEPretrainHead", norm_pix=True, patch_size=16, loss=PIXELS),
    )
    arch = dict(embed_dims=(32, 64, 128), depths=tuple(depths), num_heads=heads)
    return theirs, dict(type="mixmae_bench.HiViT", arch=arch, img_size=64)


CASES = {
    "spark-resnet": (
        spark(dict(type="SparseResNet", depth=50), 2048, dict(type="SparseSyncBatchNorm2d")),
        dict(TIMM, model="resnet50"),
    ),
    "spark-convnext": (
        spark(
            dict(type="SparseConvNeXt", arch="tiny", gap_before_output=False),
            768,
            dict(type="SparseLN2d", eps=1e-6),
        ),
        dict(TIMM, model="convnext_tiny"),
    ),
    "spark-convnext-v2": (
        spark(
            dict(
                type="SparseConvNeXt",
                arch="tiny",
                gap_before_output=False,
                use_grn=True,
                layer_scale_init_value=0.0,
            ),
            768,
            dict(type="SparseLN2d", eps=1e-6),
        ),
        dict(TIMM, model="convnextv2_tiny"),
    ),
    "mae-hivit": hivit("MAE", "MAEHiViT", dict(type="MAEPretrainDecoder")),
    "itpn": hivit(
        "iTPN",
        "iTPNHiViT",
        dict(type="iTPNPretrainDecoder", fpn_dim=32, fpn_depth=1, num_outs=3),
    ),
    "beit": (
        dict(
            type="BEiT",
            backbone=dict(type="BEiTPretrainViT", arch="base", img_size=64, patch_size=16),
            head=dict(type="BEiTV1Head", embed_dims=768, num_embed=32, loss=dict(type="CrossEntropyLoss")),
            target_generator=dict(type="DALL-E", n_hid=16, vocab_size=32),
        ),
        dict(TIMM, model="beit_base_patch16_224", img_size=64, model_args=SHARED_TABLE),
    ),
    "maskfeat": (
        dict(
            type="MaskFeat",
            backbone=dict(
                type="MaskFeatViT",
                arch=dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768),
                img_size=64,
                patch_size=16,
            ),
            neck=dict(type="LinearNeck", in_channels=192, out_channels=108, norm_cfg=None),
            head=dict(type="MIMHead", loss=PIXELS),
            target_generator=dict(type="HOGGenerator", nbins=9, pool=8, gaussian_window=16),
        ),
        dict(TIMM, model="vit_tiny_patch16_224", img_size=64),
    ),
}
"""Model of mmpretrain, and the backbone that it becomes."""


def theirs(name: str) -> nn.Module:
    """Build a model of mmpretrain; every parameter and statistic is random."""
    import mmpretrain.models  # noqa: F401

    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(CASES[name][0])
    generator = torch.Generator().manual_seed(0)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not key.startswith("target_generator."):
            width = tensor[0].numel() if tensor.ndim > 1 else 25
            noise = torch.randn(tensor.shape, generator=generator) * width**-0.5
            around_1 = tensor.ndim == 1 and key.endswith(("weight", "running_var", "gamma"))
            tensor.copy_(1 + 0.5 * noise.clamp(-1.9, 1.9) if around_1 else noise)
    return model.eval()


def saved(model: nn.Module, folder: Path) -> Path:
    """Save a checkpoint with the entries that mmengine's Runner writes."""
    torch.save(
        {"meta": dict(epoch=1, iter=8), "state_dict": model.state_dict(), "message_hub": {}, "optimizer": {}},
        folder / "theirs.pth",
    )
    return folder / "theirs.pth"


def backbone_of(name: str, **kwargs: object) -> Backbone:
    """Build our backbone with a map for every stage."""
    config = CASES[name][1]
    stages = dict(out_indices=(0, 1, 2)) if config["type"] == "mixmae_bench.HiViT" else {}
    return MODELS.build(dict(config, **stages, **kwargs)).eval()


def images(rows: int, columns: int) -> Tensor:
    return torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(1))


def their_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the maps of mmpretrain's encoder for whole images."""
    from mmpretrain.models.utils.sparse_modules import SparseHelper

    if type(model).__name__ == "SparK":
        SparseHelper._cur_active = torch.ones(len(x), 1, x.shape[2] // 32, x.shape[3] // 32)
        return list(model.backbone(x))
    maps, grid = [], (x.shape[2] // 16, x.shape[3] // 16)

    def keep_stage(module: nn.Module, args: tuple[Tensor]) -> None:
        if type(module).__name__ == "PatchMerge":  # of tokens (B, patches of 16 px, k, k, C)
            tokens = args[0].unflatten(1, grid).permute(0, 5, 1, 3, 2, 4)
            maps.append(tokens.flatten(2, 3).flatten(3))

    with register_module_forward_pre_hook(keep_stage):
        (last,) = model.backbone(x, mask=None)
    if last.ndim == 3:  # a sequence that starts with the class token
        last = last[:, 1:].transpose(1, 2).unflatten(2, grid)
    return [*maps, last]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_a_converted_encoder_gives_the_same_maps(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = theirs(name)
    out = tmp_path / "ours.safetensors"
    assert main(["convert", str(saved(model, tmp_path)), str(out)]) == 0
    told = capsys.readouterr().out
    assert f"fits: {snippet(CASES[name][1])}\n" in told

    backbone = backbone_of(name, init_cfg=dict(type="Pretrained", checkpoint=str(out)))
    backbone.init_weights()
    assert set(backbone.audit["missing"]) <= {"norm.weight", "norm.bias"}  # of HiViT
    assert backbone.audit["left_out"] == []
    # Every tensor is in the new file or belongs to the pretraining.
    encoder = [key for key in model.state_dict() if key.startswith("backbone.")]
    left_out = [key for key in encoder if key.endswith(("mask_token", "relative_position_index"))]
    assert len(read_state_dict(out)) == len(encoder) - len(left_out)

    backbone.out_norms.clear()  # they are new
    if backbone.audit["missing"]:
        backbone.norm = nn.Identity()
    x = images(64, 64)
    found, expected = backbone.double()(x.double()), their_maps(model.double(), x.double())
    if hasattr(backbone, "out_pyramid"):
        found = [found[2]]  # stride 16: the map that the pyramid is made of
    for ours, wanted in zip(found, expected, strict=True):
        assert ours.shape == wanted.shape
        assert wanted.std() > 0.05
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_converted_file_can_be_converted_again_and_to_another_package(name: str, tmp_path: Path) -> None:
    ours, again, other = (tmp_path / f"{name}.safetensors" for name in ("ours", "again", "other"))
    assert main(["convert", str(saved(theirs(name), tmp_path)), str(ours)]) == 0
    assert main(["convert", str(ours), str(again)]) == 0
    package, prefix = ("timm", "") if "model" in CASES[name][1] else ("mmpretrain", "backbone.")
    assert main(["convert", str(ours), str(other), "--to", package]) == 0
    first = read_state_dict(ours)
    assert all(torch.equal(tensor, first[key]) for key, tensor in read_state_dict(again).items())
    assert set(read_state_dict(other)) == {prefix + key.removeprefix("backbone.") for key in first}


@pytest.mark.parametrize("name", CASES)
def test_an_encoder_alone_or_with_a_damaged_name_or_shape_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = theirs(name).state_dict()
    weight = [key for key in state if key.startswith("backbone.") and state[key].ndim > 1][-1]
    alone = {key: tensor for key, tensor in state.items() if key.startswith("backbone.")}
    for damaged, reason in (
        (alone, "is of no known kind"),
        ({**state, "backbone.extra.weight": torch.ones(2)}, "is of no known kind"),
        ({key: tensor for key, tensor in state.items() if key != weight}, "lacks"),
        ({**state, weight: state[weight][:-1]}, "of shape"),
    ):
        torch.save({"state_dict": damaged}, tmp_path / "damaged.pth")
        assert main(["convert", str(tmp_path / "damaged.pth"), str(tmp_path / "out.pth")]) == 2
        message = capsys.readouterr().err
        assert reason in message
        assert message.count("\n") == 1
        assert not (tmp_path / "out.pth").exists()
