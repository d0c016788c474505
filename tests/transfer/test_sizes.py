"""Pretrained at 224 px, fine-tuned at other sizes: real depths, windows and tables, on few channels."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.positions import resize_geometric
from mixmae_bench.backbones.loading import load_backbone
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.backbones.swin import Swin
from mixmae_bench.backbones.um_pvt import UMPVT
from mixmae_bench.backbones.um_swin import UMSwin
from mixmae_bench.compat import openmmlab

SLIM = dict(embed_dim=8, depths=(2, 2, 18, 2), num_heads=(1, 2, 2, 2))
AT_224 = dict(SLIM, window_size=(14, 14, 14, 7))
AT_384 = dict(SLIM, window_size=(16, 16, 24, 12))
CHANNELS = [8, 16, 32, 64]
BLOCKS = [(stage, block) for stage, depth in enumerate(SLIM["depths"]) for block in range(depth)]
BIAS_TABLES = [f"layers.{s}.blocks.{b}.attn.relative_position_bias_table" for s, b in BLOCKS]


@pytest.fixture(autouse=True)
def _any_scope(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave mmengine's default scope as it was."""
    monkeypatch.setattr(DefaultScope, "_instance_dict", DefaultScope._instance_dict.copy())
    with openmmlab.reading_configs():
        yield


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of pretraining at 224 px, every tensor of it random."""
    return save(MixMAESwin(AT_224), tmp_path)


def save(backbone: Encoder, folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    state = {
        f"backbone.{name}": tensor
        if name.endswith("pos_embed")
        else torch.randn(tensor.shape, generator=generator)
        for name, tensor in backbone.state_dict().items()
    }
    torch.save({"state_dict": {**state, "decoder.mask_token": torch.zeros(1)}}, folder / "mim.pth")
    return folder / "mim.pth"


def backbone_of(checkpoint: Path) -> dict[str, Tensor]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}


def assert_filled(backbone: Encoder, audit: dict, checkpoint: Path, resized: list[str]) -> None:
    """Everything is there; what was not resized has the checkpoint's values."""
    assert (audit["filled"], audit["missing"], audit["left_out"]) == (100, [], ["decoder.mask_token"])
    assert sorted(audit["resized"]) == sorted(resized)
    own = backbone.state_dict()
    for name, tensor in backbone_of(checkpoint).items():
        if name not in resized:
            assert torch.equal(own[name], tensor), name


def build(model: dict, scope: str, checkpoint: Path, img_size: int = 224) -> nn.Module:
    """Build a model of another package around a pretrained backbone."""
    init_default_scope(scope)
    model.backbone = dict(
        type="mixmae_bench.MixMAESwin",
        arch=AT_224,
        img_size=img_size,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint=str(checkpoint)),
    )
    built = MODELS.build(model)
    built.init_weights()
    return built.eval()


def record_maps(backbone: Encoder) -> list[Tensor]:
    """Return a list that the next forward fills with the backbone's maps."""
    maps: list[Tensor] = []
    backbone.register_forward_hook(lambda *call: maps.extend(call[-1]))
    return maps


# --- MixMAE ---------------------------------------------------------------------------------------


def test_a_classifier_at_384_px_resizes_positions_and_the_tables_of_every_block(checkpoint: Path) -> None:
    backbone = MixMAESwin(AT_384, img_size=384).eval()
    audit = load_backbone(backbone, checkpoint)
    assert_filled(backbone, audit, checkpoint, ["absolute_pos_embed", *BIAS_TABLES])
    for (stage, _), name in zip(BLOCKS, BIAS_TABLES, strict=True):
        side = 2 * AT_384["window_size"][stage] - 1
        assert backbone.state_dict()[name].shape == (side**2, SLIM["num_heads"][stage])
    assert backbone.absolute_pos_embed.shape == (1, 96 * 96, 8)
    with torch.no_grad():
        (out,) = backbone(torch.randn(1, 3, 384, 384))
    assert out.shape == (1, 64, 12, 12)
    assert out.isfinite().all()


@pytest.mark.parametrize(
    ("arch", "params"),
    [
        (dict(embed_dim=128, num_heads=(4, 8, 16, 32)), (87_319_352, 88_552_440)),
        (dict(embed_dim=192, num_heads=(6, 12, 24, 48)), (195_859_668, 197_709_300)),
    ],
    ids=["base", "large"],
)
def test_full_size_models_at_224_and_384_px_have_the_same_names_and_differ_in_tables_alone(
    arch: dict, params: tuple[int, int]
) -> None:
    """Parameters with the position table and without the head: those of the official models."""
    with torch.device("meta"):
        source = MixMAESwin(dict(AT_224, **arch), img_size=224)
        backbone = MixMAESwin(dict(AT_384, **arch), img_size=384)
    state, own = source.state_dict(), backbone.state_dict()
    assert (sum(t.numel() for t in state.values()), sum(t.numel() for t in own.values())) == params
    assert state.keys() == own.keys()
    differ = [name for name in own if own[name].shape != state[name].shape]
    assert sorted(differ) == sorted(["absolute_pos_embed", *BIAS_TABLES])
    assert sorted(backbone.resize_tables(state)) == sorted(differ)
    assert all(state[name].shape == own[name].shape for name in own)


def test_mask_rcnn_at_1333x800_px_is_filled_and_detects_on_maps_of_every_stride(checkpoint: Path) -> None:
    """mmdet's own model, of 16 channels after the backbone, on an image that it pads to 1344x800."""
    cfg = get_config("mmdet::_base_/models/mask-rcnn_r50_fpn.py").model
    cfg.neck.update(in_channels=CHANNELS, out_channels=16)
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    for part in ("bbox_roi_extractor", "mask_roi_extractor"):
        cfg.roi_head[part].out_channels = 16
    cfg.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16)
    cfg.roi_head.mask_head.update(in_channels=16, conv_out_channels=16)
    model = build(cfg, "mmdet", checkpoint)
    # Windows stay as they are, and the position table is resized as an image comes.
    assert_filled(model.backbone, model.backbone.audit, checkpoint, [])

    image = torch.randint(256, (3, 800, 1333), dtype=torch.uint8)
    sample = DetDataSample(
        metainfo=dict(img_shape=(800, 1333), ori_shape=(800, 1333), scale_factor=(1.0, 1.0))
    )
    maps = record_maps(model.backbone)
    with torch.no_grad():
        (result,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, 800 // stride, 1344 // stride)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]
    assert all(m.isfinite().all() for m in maps)
    assert result.pred_instances.bboxes.isfinite().all()
    assert result.pred_instances.masks.shape[1:] == (800, 1333)


@pytest.mark.parametrize(("img_size", "resized"), [(224, []), (512, ["absolute_pos_embed"])])
def test_upernet_at_512x512_px_is_filled_and_segments(
    img_size: int, resized: list[str], checkpoint: Path
) -> None:
    """mmseg's own model, of 16 channels after the backbone; positions are resized at run time or once."""
    cfg = get_config("mmseg::_base_/models/upernet_r50.py").model
    norm = dict(type="BN")
    cfg.decode_head.update(in_channels=CHANNELS, channels=16, num_classes=150, norm_cfg=norm)
    cfg.auxiliary_head.update(in_channels=CHANNELS[2], channels=16, num_classes=150, norm_cfg=norm)
    cfg.data_preprocessor.size = (512, 512)
    cfg.pretrained = None
    model = build(cfg, "mmseg", checkpoint, img_size=img_size)
    assert_filled(model.backbone, model.backbone.audit, checkpoint, resized)

    maps = record_maps(model.backbone)
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 512, 512), mode="tensor")
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, 512 // stride, 512 // stride)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]
    assert logits.shape == (1, 150, 128, 128)
    assert logits.isfinite().all()


def test_positions_resized_once_are_those_resized_as_an_image_comes(checkpoint: Path) -> None:
    at_224, at_512 = MixMAESwin(AT_224).eval(), MixMAESwin(AT_224, img_size=512).eval()
    for backbone in (at_224, at_512):
        load_backbone(backbone, checkpoint)
    images = torch.randn(1, 3, 512, 512)
    with torch.no_grad():
        torch.testing.assert_close(at_224(images)[0], at_512(images)[0], rtol=0, atol=1e-5)


# --- the other encoders ---------------------------------------------------------------------------


def test_swin_of_192_px_and_windows_of_6_resizes_bias_tables_geometrically_to_7(tmp_path: Path) -> None:
    """SimMIM's encoder as published for pretraining and for fine-tuning (S4)."""
    checkpoint = save(Swin(SLIM, window_size=6, img_size=192), tmp_path)
    backbone = Swin(SLIM, window_size=7, img_size=224)
    assert_filled(backbone, load_backbone(backbone, checkpoint), checkpoint, BIAS_TABLES)
    source = backbone_of(checkpoint)
    for name in BIAS_TABLES:
        assert source[name].shape[0] == 11**2
        expected = resize_geometric(source[name], 13**2)
        torch.testing.assert_close(backbone.state_dict()[name], expected, rtol=0, atol=0)


def test_um_mae_s_swin_has_nothing_to_resize(tmp_path: Path) -> None:
    """Pretrained on packed maps with windows of 8, fine-tuned with 16 (U5) and at another size."""
    checkpoint = save(UMSwin(SLIM, window_size=8, img_size=256), tmp_path)
    backbone = UMSwin(SLIM, window_size=16, img_size=384)
    assert_filled(backbone, load_backbone(backbone, checkpoint), checkpoint, [])


@pytest.mark.parametrize(("img_size", "resized"), [(256, []), (384, ["pos_embed"])])
def test_um_mae_s_pvt_resizes_its_positions_alone(img_size: int, resized: list[str], tmp_path: Path) -> None:
    arch = dict(
        embed_dims=CHANNELS,
        depths=(3, 4, 6, 3),
        num_heads=(1, 2, 2, 2),
        mlp_ratios=(8, 8, 4, 4),
        sr_ratios=(8, 4, 2, 1),
    )
    checkpoint = save(UMPVT(arch), tmp_path)
    backbone = UMPVT(arch, img_size=img_size, learn_positions=True)
    assert_filled(backbone, load_backbone(backbone, checkpoint), checkpoint, resized)
    assert backbone.pos_embed.shape == (1, (img_size // 4) ** 2, 8)
    assert backbone.pos_embed.requires_grad
