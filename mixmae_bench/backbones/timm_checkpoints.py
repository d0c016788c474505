"""Checkpoints of mmpretrain's pretraining methods whose encoder is a model of timm.

An encoder becomes a `TimmBackbone` with timm's names. The decoder is left out. A kind is recognised by the
names of its decoder, as the encoders of several methods have the same names.
"""

import math
import re
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

from timm.models.beit import gen_relative_position_index
from torch import Tensor

from mixmae_bench.backbones import plain_vit
from mixmae_bench.backbones.loading import ADDED
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.layouts import MM_BLOCK, MM_EMBED, Layout, Target, by, same, within
from mixmae_bench.backbones.official.names import BLOCK_PARTS, BOTH, CLASSIFIER, NORM, PROJECTION
from mixmae_bench.backbones.official.shapes import State, patch_size
from mixmae_bench.backbones.timm_backbone import TimmMaps


@dataclass(frozen=True)
class TimmCheckpoint(BackboneCheckpoint):
    """A model of timm; `settings` returns the arguments of `TimmBackbone`."""

    @property
    def name(self) -> str:
        return "TimmBackbone"

    def config(self, encoder: State, img_size: int | None) -> dict:
        return {"type": f"mixmae_bench.{self.name}", **self.settings(encoder, img_size)}


def _named(sizes: Hashable, known: Mapping[Hashable, str]) -> str:
    """Return timm's name of a model with these sizes.

    Raises:
        ValueError: If it has none.
    """
    if sizes not in known:
        raise ValueError(f"no model of timm has the sizes {sizes}; known: {', '.join(known.values())}")
    return known[sizes]


def _by_width_and_blocks(encoder: State, known: Mapping[Hashable, str]) -> str:
    blocks = len({name.split(".")[1] for name in encoder if name.startswith("blocks.")})
    return _named((len(encoder["patch_embed.proj.weight"]), blocks), known)


def _depths(names: Collection[str], block: str) -> tuple[int, ...]:
    """Return the blocks per stage; `block` matches the start of names, with groups for stage and block."""
    blocks = {(int(found[1]), int(found[2])) for name in names if (found := re.match(block, name))}
    return tuple(sum(stage == own for own, _ in blocks) for stage in sorted({stage for stage, _ in blocks}))


def _kind(
    name: str, checkpoint: TimmCheckpoint, keys: tuple[str, ...], pretraining: tuple[str, ...], **more: object
) -> Kind:
    return Kind(
        name,
        "open-mmlab/mmpretrain",
        "ImageClassifier",
        checkpoint,
        CLASSIFIER,
        keys,
        published=False,
        pretraining=pretraining,
        **more,
    )


_TO_TIMM = (Target("timm", lambda name, last: name),)

# SparK on ResNet: torchvision's, timm's and mmpretrain's names are the same.

RESNETS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
"""Names by the blocks per stage, and whether they are bottlenecks."""

_BATCH_NORM = r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
_DECODER = (
    r"(enc_dec_norms|enc_dec_projectors)\.\d+\.\w+",
    r"mask_tokens\.\d+",
    r"neck\.(decoder\.\d+|proj)\..*",
)


def _resnet(encoder: State, img_size: int | None) -> dict:
    depths = _depths(encoder, r"layer(\d)\.(\d+)\.")
    return dict(model=_named((depths, "layer1.0.conv3.weight" in encoder), RESNETS))


register(
    _kind(
        "SparK pretraining, ResNet",
        TimmCheckpoint(
            TimmMaps,
            _resnet,
            defaults=(),
            layouts=(Layout("mmpretrain SparK", same, prefix="backbone."),),
            targets=_TO_TIMM,
        ),
        keys=(
            r"conv1\.weight",
            rf"bn1{_BATCH_NORM}",
            r"layer\d\.\d+\.conv\d\.weight",
            rf"layer\d\.\d+\.bn\d{_BATCH_NORM}",
            r"layer\d\.0\.downsample\.0\.weight",
            rf"layer\d\.0\.downsample\.1{_BATCH_NORM}",
        ),
        pretraining=_DECODER,
    )
)

# SparK on ConvNeXt.

CONVNEXTS = {
    ((3, 3, 9, 3), 96, False): "convnext_tiny",
    ((3, 3, 27, 3), 96, False): "convnext_small",
    ((3, 3, 27, 3), 128, False): "convnext_base",
    ((3, 3, 27, 3), 192, False): "convnext_large",
    ((3, 3, 9, 3), 96, True): "convnextv2_tiny",
}
"""Names by the blocks per stage, the width of the first stage, and whether blocks have response norms."""

_SPARK_CONVNEXT = by(
    (r"downsample_layers\.0\.", "stem."),
    (r"downsample_layers\.(\d)\.", r"stages.\1.downsample."),
    *within(
        r"stages\.(\d)\.(\d+)\.",
        r"stages.\1.blocks.\2.",
        (
            (r"depthwise_conv\.", "conv_dw."),
            (r"(norm\.|gamma$)", r"\1"),
            (r"pointwise_conv([12])\.", r"mlp.fc\1."),
            (r"grn\.gamma$", "mlp.grn.weight"),
            (r"grn\.beta$", "mlp.grn.bias"),
        ),
    ),
)


def _convnext(encoder: State, img_size: int | None) -> dict:
    depths = _depths(encoder, r"stages\.(\d)\.blocks\.(\d+)\.")
    response_norm = "stages.0.blocks.0.mlp.grn.weight" in encoder
    return dict(model=_named((depths, len(encoder["stem.0.weight"]), response_norm), CONVNEXTS))


register(
    _kind(
        "SparK pretraining, ConvNeXt",
        TimmCheckpoint(
            TimmMaps,
            _convnext,
            defaults=(),
            layouts=(Layout("mmpretrain SparK", _SPARK_CONVNEXT, prefix="backbone."),),
            targets=_TO_TIMM,
            added=ADDED,
        ),
        keys=(
            rf"stem\.[01]{BOTH}",
            rf"stages\.[123]\.downsample\.[01]{BOTH}",
            rf"stages\.\d\.blocks\.\d+\.(conv_dw|norm|mlp\.fc[12]){BOTH}",
        ),
        optional=(r"stages\.\d\.blocks\.\d+\.gamma", rf"stages\.\d\.blocks\.\d+\.mlp\.grn{BOTH}"),
        pretraining=_DECODER,
    )
)

# BEiT. Its blocks share a bias table, which the official fine-tuning copies for every block.

BEITS = {(768, 12): "beit_base_patch16_224", (1024, 24): "beit_large_patch16_224"}
"""Names by width and blocks."""

SHARED_TABLE = dict(global_pool="token", use_rel_pos_bias=False, use_shared_rel_pos_bias=True)
"""Arguments of timm's model for the encoder of the pretraining, with its last norm."""

_TABLE = "rel_pos_bias.relative_position_bias_table"
_INDEX = "rel_pos_bias.relative_position_index"


def _beit(encoder: State, img_size: int | None) -> dict:
    return dict(model=_by_width_and_blocks(encoder, BEITS), img_size=img_size, model_args=SHARED_TABLE)


def _window(encoder: State) -> int:
    """Return the tokens per side; a table has a row per offset, and three for the class token."""
    return (math.isqrt(len(encoder[_TABLE]) - 3) + 1) // 2


def _index(encoder: State, img_size: int | None) -> dict[str, Tensor]:
    side = _window(encoder)
    return {_INDEX: gen_relative_position_index((side, side))}


register(
    _kind(
        "BEiT pretraining",
        TimmCheckpoint(
            TimmMaps,
            _beit,
            defaults=(),
            layouts=(
                Layout(
                    "mmpretrain BEiT",
                    by(
                        *MM_EMBED,
                        *within(
                            r"layers\.(\d+)\.", r"blocks.\1.", (*MM_BLOCK, (r"gamma_([12])$", r"gamma_\1"))
                        ),
                        (r"ln1\.", "norm."),
                        (r"cls_token$|rel_pos_bias\.", r"\g<0>"),
                    ),
                    prefix="backbone.",
                ),
            ),
            targets=_TO_TIMM,
            buffers=(re.escape(_INDEX),),
            make_buffers=_index,
            img_size=lambda encoder, buffers: _window(encoder) * patch_size(encoder),
            added=ADDED,
        ),
        keys=(
            "cls_token",
            PROJECTION,
            NORM,
            re.escape(_TABLE),
            rf"blocks\.\d+\.({BLOCK_PARTS}|attn\.qkv\.weight|attn\.[qv]_bias|gamma_[12])",
        ),
        pretraining=(r"backbone\.mask_token", rf"head\.cls_head{BOTH}|target_generator\..*"),
    )
)

# MaskFeat on ViT: names of MAE's encoder, which are timm's.

VITS = {
    (192, 12): "vit_tiny_patch16_224",
    (384, 12): "vit_small_patch16_224",
    (768, 12): "vit_base_patch16_224",
    (1024, 24): "vit_large_patch16_224",
}
"""Names by width and blocks."""


def _vit(encoder: State, img_size: int | None) -> dict:
    return dict(model=_by_width_and_blocks(encoder, VITS), img_size=img_size)


register(
    _kind(
        "MaskFeat pretraining, ViT",
        TimmCheckpoint(
            TimmMaps,
            _vit,
            defaults=(),
            layouts=(Layout("mmpretrain MaskFeat", plain_vit.MMPRETRAIN, prefix="backbone."),),
            targets=_TO_TIMM,
            added=ADDED,
        ),
        keys=plain_vit.KEYS,
        pretraining=(r"backbone\.mask_token", rf"neck\.fc{BOTH}|target_generator\.\w+"),
    )
)
