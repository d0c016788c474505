"""Checkpoints and constructors of Swin in microsoft/SimMIM; MixMAE's encoder uses most of this module too.

Microsoft's and timm's Swin have the same parameter names.
"""

import math
import re

import torch
from torch import Tensor

from mixmae_bench.backbones.layers.arch import arch_name
from mixmae_bench.backbones.layers.windows import partition_map, relative_position_index
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.layouts import (
    MM_EMBED,
    MM_FFN,
    Layout,
    Target,
    by,
    head_fc,
    within,
)
from mixmae_bench.backbones.official.names import (
    BLOCK_PARTS,
    BOTH,
    CLASSIFIER,
    EMBED,
    HEAD,
    NORM,
    OUT_NORM,
    OUT_NORMS,
    QKV,
)
from mixmae_bench.backbones.official.shapes import State, fc1_weights, image_side, mlp_ratio, patch_size
from mixmae_bench.backbones.swin import ARCHS, Swin

# Names.

APE = "absolute_pos_embed"
TABLE = "relative_position_bias_table"
INDEX = r"layers\.\d+\.blocks\.\d+\.attn\.relative_position_index"
MASK = r"layers\.\d+\.blocks\.\d+\.attn_mask"
CPU = torch.device("cpu")


def window_keys(prefix: str = "") -> tuple[str, ...]:
    """Return patterns of the parameter names of a Swin with bias tables."""
    block = rf"{prefix}layers\.\d+\.blocks\.\d+\."
    return (
        prefix + EMBED,
        prefix + NORM,
        rf"{block}({BLOCK_PARTS}|{QKV})",
        rf"{block}attn\.{TABLE}",
        rf"{prefix}layers\.0\.downsample\.reduction\.weight",
        rf"{prefix}layers\.\d+\.downsample\.(norm{BOTH}|reduction\.weight)",
    )


_MM_BLOCK = (*MM_FFN, (r"norm([12])\.", r"norm\1."), (r"attn\.w_msa\.", "attn."))
_MMPRETRAIN = by(
    *MM_EMBED,
    *within(r"stages\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2.", _MM_BLOCK),
    (r"stages\.(\d+)\.downsample\.", r"layers.\1.downsample."),
    (rf"norm\.|{re.escape(OUT_NORMS)}|{APE}$|mask_token$", r"\g<0>"),
)


def _timm(name: str) -> str:
    """Rename a parameter of timm's Swin. Since timm 0.9, a stage begins with its downsample."""
    name = re.sub(r"^layers\.(\d+)(?=\.downsample\.)", lambda m: f"layers.{int(m[1]) - 1}", name)
    return head_fc(name)


_TO_MM = ((r"attn\.", "attn.w_msa."), (r"mlp\.fc1\.", "ffn.layers.0.0."), (r"mlp\.fc2\.", "ffn.layers.1."))
_TO_MMPRETRAIN = by(
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    *within(
        r"layers\.(\d+)\.blocks\.(\d+)\.", r"stages.\1.blocks.\2.", (*_TO_MM, (r"norm([12])\.", r"norm\1."))
    ),
    (r"layers\.(\d+)\.downsample\.", r"stages.\1.downsample."),
    (rf"patch_embed\.norm\.|{APE}$", r"\g<0>"),
)


def _to_mmpretrain(name: str, last: int) -> str:
    """Return mmpretrain's name; its norms have the numbers of their stages."""
    norms = re.sub(rf"^{re.escape(OUT_NORMS)}(\d+)\.", r"norm\1.", re.sub(r"^norm\.", f"norm{last}.", name))
    return _TO_MMPRETRAIN(name) or norms


def _to_timm(name: str, last: int) -> str | None:
    """Return timm's name: a stage begins with its downsample; there are no position table and out norms."""
    if name == APE or name.startswith(OUT_NORMS):
        return None
    return re.sub(r"^layers\.(\d+)(?=\.downsample\.)", lambda m: f"layers.{int(m[1]) + 1}", name)


# Settings inferred from shapes.


def window_of(table: Tensor) -> int:
    """Return the window size W that a bias table ((2W-1)^2, heads) is made for."""
    return (math.isqrt(len(table)) + 1) // 2


def windowed_arch(encoder: State) -> tuple[dict, tuple[int, ...]]:
    """Infer the architecture of a Swin from its bias tables, and the window size of every stage."""
    stages: dict[int, list[Tensor]] = {}
    for name, tensor in encoder.items():
        if name.endswith(TABLE):
            stages.setdefault(_stage(name), []).append(tensor)
    tables = [stages[i] for i in range(len(stages))]
    arch = dict(
        embed_dim=len(encoder["patch_embed.proj.weight"]),
        depths=tuple(len(blocks) for blocks in tables),
        num_heads=tuple(blocks[0].shape[1] for blocks in tables),
    )
    return arch, tuple(window_of(blocks[0]) for blocks in tables)


def window_settings(encoder: State) -> dict:
    """Infer arguments of a `WindowTransformer` from shapes, apart from the architecture and sizes."""
    return dict(
        mlp_ratio=mlp_ratio(fc1_weights(encoder)),
        qkv_bias=any(name.endswith("attn.qkv.bias") for name in encoder),
        patch_norm=any(name.startswith("patch_embed.norm.") for name in encoder),
    )


def _settings(encoder: State, img_size: int | None) -> dict:
    arch, windows = windowed_arch(encoder)
    # The smallest possible size: the grid of the last stage is at least as large as its window.
    img_size = img_size or windows[-1] * patch_size(encoder) * 2 ** (len(windows) - 1)
    return dict(
        arch=arch_name(arch, ARCHS),
        window_size=max(windows),
        img_size=img_size,
        ape=APE in encoder,
        **window_settings(encoder),
    )


# Buffers of the official code.


def bias_index(table: Tensor) -> Tensor:
    """Return the official `relative_position_index` (W*W, W*W), int64, of a bias table ((2W-1)^2, heads)."""
    window = window_of(table)
    (bucket,) = partition_map((window, window), window, False, None, CPU).buckets
    return relative_position_index(bucket.relative_coords[0], window)


def shift_mask(size: tuple[int, int], window: int) -> Tensor:
    """Return the official `attn_mask` (windows, n, n) of a map that `window` divides (S1)."""
    segments = partition_map(size, window, True, None, CPU).segments
    rolled = segments.roll((-(window // 2), -(window // 2)), (0, 1))
    windows = rolled.unfold(0, window, window).unfold(1, window, window).reshape(-1, window**2)
    return (windows[:, :, None] != windows[:, None]) * -100.0


def bias_indices(encoder: State, img_size: int | None) -> dict[str, Tensor]:
    """Return the official `relative_position_index` of every bias table."""
    return {
        name.replace(TABLE, "relative_position_index"): bias_index(table)
        for name, table in encoder.items()
        if name.endswith(TABLE)
    }


def _buffers(encoder: State, img_size: int | None) -> dict[str, Tensor]:
    """Return the official index of every bias table and, if `img_size` is known, the shift masks.

    Raises:
        ValueError: If a window size does not divide the grid of its stage; the official code requires it.
    """
    buffers = {}
    for index, tensor in bias_indices(encoder, img_size).items():
        buffers[index] = tensor
        block = index.removesuffix(".attn.relative_position_index")
        if img_size is None or int(block.rpartition(".")[2]) % 2 == 0:
            continue
        side, window = img_size // patch_size(encoder) // 2 ** _stage(block), math.isqrt(len(tensor))
        if side > window:
            if side % window:
                raise ValueError(f"a window of {window} does not divide a grid of {side}")
            buffers[f"{block}.attn_mask"] = shift_mask((side, side), window)
    return buffers


def _img_size(encoder: State, buffers: State) -> int | None:
    """Infer the side of the images in pixels from the position table or a shift mask (windows, n, n)."""
    side = image_side(encoder, buffers)
    mask = next((name for name in buffers if name.endswith("attn_mask")), None)
    if side is not None or mask is None:
        return side
    windows, tokens, _ = buffers[mask].shape
    return math.isqrt(windows * tokens) * patch_size(encoder) * 2 ** _stage(mask)


def _stage(name: str) -> int:
    return int(name.split(".")[1])


# Constructors.


def window_arguments(a: Arguments, windows: int | list[int], drop_path_rate: float) -> dict:
    """Map the arguments that the official encoders of MixMAE and SimMIM have in common.

    Args:
        a: Arguments of the official constructor.
        windows: Default window size, one number or one per stage.
        drop_path_rate: Default stochastic depth rate.
    """
    a.only(drop_rate=0.0, attn_drop_rate=0.0)
    several = isinstance(windows, list)
    return dict(
        arch=dict(
            embed_dim=a.count("embed_dim", 96),
            depths=a.depths([2, 2, 18, 2] if several else [2, 2, 6, 2]),
            num_heads=a.counts("num_heads", [3, 6, 12, 24]),
        ),
        window_size=a.counts("window_size", windows) if several else a.count("window_size", windows),
        img_size=a.count("img_size", 224),
        patch_size=a.count("patch_size", 4),
        mlp_ratio=a.real("mlp_ratio", 4.0),
        drop_path_rate=a.real("drop_path_rate", drop_path_rate),
        qkv_bias=a.flag("qkv_bias", True),
        patch_norm=a.flag("patch_norm", True),
        norm_eps=a.norm_eps(),
        with_cp=a.flag("use_checkpoint", False),
    )


def swin_arguments(a: Arguments) -> dict:
    """Map the arguments of the official Swin to those of `Swin`."""
    return dict(
        **window_arguments(a, 7, 0.1),
        qk_scale=a.real("qk_scale", None) or None,  # the official code treats 0 as None
        ape=a.flag("ape", False),
    )


def _finetuned(a: Arguments) -> dict:
    a.without_effect("encoder_stride")  # for pretraining; swallowed by **kwargs
    return swin_arguments(a)


CHECKPOINT = BackboneCheckpoint(
    Swin,
    _settings,
    defaults=("norm_eps", "qk_scale"),
    layouts=(
        Layout("mmpretrain Swin", _MMPRETRAIN, beside=None, unfolds=True),
        Layout("timm Swin", _timm),
        Layout("timm Swin before 0.9", head_fc),
    ),
    targets=(
        Target("timm", _to_timm),
        Target("mmpretrain", _to_mmpretrain, prefix="backbone.", unfolds=True, indices=True),
    ),
    buffers=(INDEX, MASK),
    make_buffers=_buffers,
    sized=True,
    img_size=_img_size,
    refused=(
        (r"(.*\.)?cpb_mlp\..*",),
        "Swin V2 (cosine attention, computed biases) is not supported",
    ),
)

register(
    Kind(
        "Swin fine-tuning",
        "microsoft/SimMIM",
        "ImageClassifier",
        CHECKPOINT,
        CLASSIFIER,
        keys=window_keys(),
        optional=(APE, HEAD, OUT_NORM),
        files=("swin_transformer", "utils"),  # utils.py loads pretraining checkpoints
        constructor=_finetuned,
        groups=dict(no_decay=["absolute_pos_embed", "relative_position_bias_table"]),
    )
)
