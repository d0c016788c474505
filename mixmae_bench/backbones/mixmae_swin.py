"""MixMAE's encoder: a Swin with large, unshifted windows (arXiv 2205.13137, section 3.3)."""

import math
import re

from torch import nn

from mixmae_bench.backbones.layers.arch import arch_name, named_arch
from mixmae_bench.backbones.layers.init import xavier_init
from mixmae_bench.backbones.layers.positions import is_sincos, sincos_table
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.layouts import MM_BLOCK, MM_EMBED, Layout, Target, by, within
from mixmae_bench.backbones.official.names import CLASSIFIER, HEAD, OUT_NORM, OUT_NORMS
from mixmae_bench.backbones.official.shapes import State
from mixmae_bench.backbones.swin import WindowTransformer
from mixmae_bench.backbones.swin_official import (
    APE,
    INDEX,
    bias_indices,
    window_arguments,
    window_keys,
    window_settings,
    windowed_arch,
)
from mixmae_bench.registry import MODELS

ARCHS = {
    # 0.94 M parameters for 32-px scenes; not published.
    "small": dict(embed_dim=64, depths=(2, 4), num_heads=(2, 4), window_size=(8, 4)),
    # Swin-T's size with MixMAE's windows; not published.
    "tiny": dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=(14, 14, 14, 7)),
    # mixmim_base, mixmim_large and mixmim_huge of the official repository. The *_384 variants (img_size=384)
    # are for fine-tuning only.
    "base": dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(14, 14, 14, 7)),
    "base_384": dict(
        embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(16, 16, 24, 12)
    ),
    "large": dict(
        embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=(14, 14, 14, 7)
    ),
    "large_384": dict(
        embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=(16, 16, 24, 12)
    ),
    "huge": dict(
        embed_dim=352, depths=(2, 2, 18, 2), num_heads=(11, 22, 44, 88), window_size=(14, 14, 14, 7)
    ),
}


@MODELS.register_module()
class MixMAESwin(WindowTransformer):
    """MixMAE's hierarchical encoder (Sense-X/MixMIM models_mixmim.py at 2b2f5a9, same parameter names).

    The sin-cos position table is frozen. For another input size it is resized, not recomputed (M9).

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dim, depths, num_heads and window_size.
        img_size: See `WindowTransformer`.
        patch_size: See `WindowTransformer`.
        mlp_ratio: See `WindowTransformer`.
        drop_path_rate: See `WindowTransformer`.
        out_indices: See `WindowTransformer`.
        with_cp: See `WindowTransformer`.
        init_cfg: See `WindowTransformer`.
        in_chans: See `WindowTransformer`.
        qkv_bias: See `WindowTransformer`.
        patch_norm: See `WindowTransformer`.
        norm_eps: See `WindowTransformer`.
    """

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int = 224,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_indices: tuple[int, ...] = (-1,),
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        qkv_bias: bool = True,
        patch_norm: bool = True,
        norm_eps: float = 1e-5,
    ) -> None:
        arch = named_arch(arch, ARCHS)
        super().__init__(
            arch,
            img_size,
            patch_size,
            mlp_ratio,
            drop_path_rate,
            False,
            out_indices,
            with_cp,
            init_cfg,
            in_chans,
            qkv_bias,
            patch_norm,
            norm_eps,
        )
        table = sincos_table(arch["embed_dim"], self.grid)
        self.absolute_pos_embed = nn.Parameter(table, requires_grad=False)
        self.apply(xavier_init)


# Checkpoints and constructors of the official code.

KEYS = (*window_keys(), APE)
_MMPRETRAIN = by(
    *MM_EMBED,
    *within(r"layers\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2.", MM_BLOCK),
    (rf"layers\.\d+\.downsample\.|norm\.|{re.escape(OUT_NORMS)}|{APE}$", r"\g<0>"),
)

_TO_MM = (
    (r"mlp\.fc1\.", "ffn.layers.0.0."),
    (r"mlp\.fc2\.", "ffn.layers.1."),
    (r"norm([12])\.", r"ln\1."),
    (r"attn\.", "attn."),
)
_TO_MMPRETRAIN = by(
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    *within(r"layers\.(\d+)\.blocks\.(\d+)\.", r"layers.\1.blocks.\2.", _TO_MM),
    (rf"patch_embed\.norm\.|layers\.\d+\.downsample\.|norm\.|{APE}$", r"\g<0>"),
)


def mixmae_arguments(a: Arguments) -> dict:
    """Map the arguments of the official encoder to those of `MixMAESwin`."""
    a.without_effect("qk_scale", "ape", "encoder_stride")  # M11; encoder_stride is 32 (M5)
    arguments = window_arguments(a, [7, 7, 14, 7], 0.0)
    arguments["arch"]["window_size"] = arguments.pop("window_size")
    return arguments


def has_sincos(encoder: State) -> bool:
    """Return whether the position table is sin-cos; a Swin with the same names has a learnt one."""
    return APE in encoder and is_sincos(encoder[APE])


def _settings(encoder: State, img_size: int | None) -> dict:
    arch, windows = windowed_arch(encoder)
    arch = arch_name({**arch, "window_size": windows}, ARCHS)
    return dict(arch=arch, img_size=img_size, **window_settings(encoder))


def _is_mixmae(encoder: State) -> bool:
    """Return whether the position table is sin-cos, or the window sizes differ from a Swin's.

    A Swin has one window size for all stages, clamped to the grid of the stage (S1). Shift masks identify a
    Swin as well, but checkpoints of detectors do not contain them.
    """
    if has_sincos(encoder):
        return True
    windows = windowed_arch(encoder)[1]
    side = math.isqrt(encoder[APE].shape[1])
    return any(window != min(max(windows), side // 2**stage) for stage, window in enumerate(windows))


CHECKPOINT = BackboneCheckpoint(
    MixMAESwin,
    _settings,
    defaults=("norm_eps",),
    layouts=(Layout("mmpretrain MixMIM", _MMPRETRAIN, beside=None, unfolds=True),),
    targets=(
        # The model of `mixmae_bench.timm_models`: timm has none of its own.
        Target("timm", lambda name, last: None if name.startswith(OUT_NORMS) else name, head="head."),
        Target(
            "mmpretrain",
            lambda name, last: _TO_MMPRETRAIN(name),
            prefix="backbone.",
            unfolds=True,
            indices=True,
        ),
    ),
    buffers=(INDEX,),  # windows do not shift
    make_buffers=bias_indices,
)

register(
    Kind(
        "MixMAE fine-tuning",
        "Sense-X/MixMIM",
        "ImageClassifier",
        CHECKPOINT,
        CLASSIFIER,
        keys=KEYS,
        optional=(HEAD, OUT_NORM),
        matches=_is_mixmae,
        files=("models_mixmim_ft", "pos_embed"),  # pos_embed.py loads pretraining checkpoints
        constructor=mixmae_arguments,
        groups=dict(head_decays=True),  # M10
    )
)
