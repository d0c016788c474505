"""HiViT: a ViT with two stages of MLPs before it (arXiv 2205.14949), the encoder of MAE on HiViT and of iTPN.

Parameter names are the official ones and mmpretrain's.
"""

import math
import re
from collections.abc import Iterator
from functools import partial

from timm.layers import DropPath, Mlp, PatchEmbed
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.arch import arch_name, drop_path_rates, flat_layer_depth, named_arch
from mixmae_bench.backbones.layers.checkpointing import call
from mixmae_bench.backbones.layers.init import truncated_init
from mixmae_bench.backbones.layers.patch_merging import PatchMerging
from mixmae_bench.backbones.layers.positions import resize_square_table, sincos_table, table_positions
from mixmae_bench.backbones.layers.tracing import map_size
from mixmae_bench.backbones.layers.vit_block import ViTBlock
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.layouts import Layout, Target, same
from mixmae_bench.backbones.official.names import BOTH, CLASSIFIER, EMBED, NORM, OUT_NORM, OUT_NORMS
from mixmae_bench.backbones.official.shapes import State, patch_size
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

ARCHS = {
    "tiny": dict(embed_dims=(96, 192, 384), depths=(1, 1, 10), num_heads=6),
    "small": dict(embed_dims=(96, 192, 384), depths=(2, 2, 20), num_heads=6),
    "base": dict(embed_dims=(128, 256, 512), depths=(2, 2, 24), num_heads=8),
    "large": dict(embed_dims=(192, 384, 768), depths=(2, 2, 40), num_heads=12),
}

STEM_MLP_RATIO, MLP_RATIO = 3.0, 4.0
"""Ratios of hidden width to width of the MLPs in the first two stages, and in the last one."""

MLPS_PER_DEPTH = 2
"""MLPs in the first two stages per block: in place of an attention and an MLP."""


class MlpBlock(nn.Module):
    """Pre-norm MLP with a residual connection, on tokens (B, H, W, C)."""

    def __init__(self, dim: int, drop_path: float, norm: type[nn.Module]) -> None:
        super().__init__()
        self.norm2 = norm(dim)
        self.mlp = Mlp(dim, int(dim * STEM_MLP_RATIO))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class SequenceBlock(ViTBlock):
    """A ViT block on tokens (B, H, W, C)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.flatten(1, 2)).view(tokens.shape)


@MODELS.register_module()
class HiViT(Encoder):
    """HiViT with three maps of strides 4, 8 and 16 px, and a frozen sin-cos position table in the last stage.

    As in pretraining, attention has no relative position biases. The norm of the last map is not in
    pretraining checkpoints.

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dims, depths and num_heads (of the last stage).
        img_size: Side in pixels of the square images that the table is made for.
        patch_size: Side of a patch in pixels.
        drop_path_rate: Stochastic depth rate of the last block; rises linearly from 0 at the first.
        out_indices: Stages that `forward` returns.
        with_cp: Whether to recompute activations of blocks in the backward pass: less memory, more time.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)`, or None for random initialisation.
        in_chans: Channels of the images.
        norm_eps: Epsilon of all norms (mmpretrain: 1e-6).
    """

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int = 224,
        patch_size: int = 4,
        drop_path_rate: float = 0.0,
        out_indices: tuple[int, ...] = (-1,),
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        norm_eps: float = 1e-6,
    ) -> None:
        arch = named_arch(arch, ARCHS)
        dims = arch["embed_dims"]
        super().__init__(out_indices, len(dims), with_cp, init_cfg)
        self.depths = tuple(arch["depths"])
        self.out_channels = list(dims)
        self.out_strides = [patch_size * 2**i for i in range(len(dims))]
        self.grid = (img_size // patch_size, img_size // patch_size)
        self.in_chans = in_chans
        norm = partial(nn.LayerNorm, eps=norm_eps)
        self.patch_embed = PatchEmbed(
            None,
            patch_size,
            in_chans,
            dims[0],
            norm_layer=norm,
            flatten=False,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        side = img_size // self.out_strides[-1]
        self.last_grid = (side, side)
        self.pos_embed = nn.Parameter(sincos_table(dims[-1], self.last_grid), requires_grad=False)
        *stem, last = self.depths
        rates = iter(drop_path_rates(drop_path_rate, MLPS_PER_DEPTH * sum(stem) + last))
        self.blocks = nn.ModuleList()
        for dim, depth in zip(dims, stem, strict=False):
            self.blocks.extend(MlpBlock(dim, next(rates), norm) for _ in range(MLPS_PER_DEPTH * depth))
            self.blocks.append(PatchMerging(dim, norm_layer=norm))
        self.blocks.extend(
            SequenceBlock(
                dims[-1], arch["num_heads"], MLP_RATIO, qkv_bias=True, norm_layer=norm, drop_path=next(rates)
            )
            for _ in range(last)
        )
        self.norm = norm(dims[-1])
        self.add_out_norms()
        self.apply(truncated_init)

    def embed(self, images: Tensor) -> Tensor:
        return self.patch_embed(images)

    def stage_maps(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Iterator[Tensor]:
        if any(argument is not None for argument in (segment_ids, coords, visible)):
            raise UserError(
                "HiViT does not support segment_ids, coords or visible; use SimMIM, or mmpretrain's MAE"
            )
        last = self.depths[-1]
        for block in self.blocks[:-last]:
            if isinstance(block, PatchMerging):
                yield tokens
            tokens = call(block, tokens, with_cp=self.with_cp)
        tokens = tokens + table_positions(self.pos_embed, self.last_grid, map_size(tokens), None)
        for block in self.blocks[-last:]:
            tokens = call(block, tokens, with_cp=self.with_cp)
        yield tokens

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        table, own = state.get("pos_embed"), self.pos_embed
        if table is None or table.shape == own.shape or table.ndim != 3 or table.shape[-1] != own.shape[-1]:
            return []
        state["pos_embed"] = resize_square_table(table[0], own.shape[1])[None]
        return ["pos_embed"]

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Return a depth per entry of `blocks`, patch merging included; the table is used after the stem."""
        blocks = len(self.blocks)
        if param_name == f"{prefix}pos_embed":
            return blocks - self.depths[-1], blocks + 2
        return flat_layer_depth(param_name, prefix, blocks)


# Checkpoints of mmpretrain.

_DECODER = (
    r"neck\.(mask_token|decoder_pos_embed)",
    r"neck\.decoder_blocks\.\d+\..*",
    rf"neck\.(ln1|decoder_pred){BOTH}",
)


def _settings(encoder: State, img_size: int | None) -> dict:
    first, second = sorted(int(n.split(".")[1]) for n in encoder if n.endswith(".reduction.weight"))
    blocks = len({name.split(".")[1] for name in encoder if name.startswith("blocks.")})
    dim = len(encoder["patch_embed.proj.weight"])
    arch = dict(
        embed_dims=(dim, 2 * dim, 4 * dim),
        depths=(
            first // MLPS_PER_DEPTH,
            (second - first - 1) // MLPS_PER_DEPTH,
            blocks - second - 1,
        ),
        num_heads=max(1, 4 * dim // 64),
    )
    return dict(arch=arch_name(arch, ARCHS), img_size=img_size)


def _image_side(encoder: State, buffers: State) -> int:
    """Infer the side in pixels of the images; the table has one row per 4 x 4 patches."""
    return math.isqrt(encoder["pos_embed"].shape[1]) * 4 * patch_size(encoder)


def _to_mmpretrain(name: str, last: int) -> str | None:
    """Return mmpretrain's name; its HiViT has no norm after the last block."""
    return None if re.fullmatch(NORM, name) else name


CHECKPOINT = BackboneCheckpoint(
    HiViT,
    _settings,
    defaults=("num_heads", "norm_eps"),
    layouts=(Layout("mmpretrain HiViT", same, prefix="backbone."),),
    targets=(Target("mmpretrain", _to_mmpretrain, prefix="backbone."),),
    img_size=_image_side,
    added=("norm.", OUT_NORMS),
)


def _kind(name: str, decoder: tuple[str, ...]) -> Kind:
    block = r"blocks\.\d+\."
    return Kind(
        name,
        "open-mmlab/mmpretrain",
        "ImageClassifier",
        CHECKPOINT,
        CLASSIFIER,
        keys=(
            "pos_embed",
            EMBED,
            rf"{block}(norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12]){BOTH}",
            rf"{block}norm{BOTH}",
            rf"{block}reduction\.weight",
        ),
        optional=(NORM, OUT_NORM),
        published=False,
        pretraining=(*_DECODER, *decoder),
    )


register(
    _kind("MAE pretraining, HiViT", (rf"neck\.decoder_embed{BOTH}",)),
    _kind(
        "iTPN pretraining, HiViT",
        (
            r"neck\.decoder_embed\.\d+\.\d+\.(weight|bias)",
            r"neck\.(align_dim|split|block)_\w+to\w+\..*",
            r"neck\.fpn_modules\.\d+\..*",
        ),
    ),
)
