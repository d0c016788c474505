"""UM-MAE's Pyramid Vision Transformer: attention to pooled keys over the whole map (arXiv 2205.10063).

Parameter names are the official ones (implus/UM-MAE models_pvt.py and models_mae_pvt.py at cb7776b).
"""

from collections.abc import Iterator

import torch.nn.functional as F
from timm.layers import DropPath, Mlp, PatchEmbed
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.arch import arch_name, drop_path_rates, flat_layer_depth, named_arch
from mixmae_bench.backbones.layers.checkpointing import call
from mixmae_bench.backbones.layers.init import um_mae_init
from mixmae_bench.backbones.layers.positions import resize_square_table, sincos_table, table_positions
from mixmae_bench.backbones.layers.residual_norm import residual_norm
from mixmae_bench.backbones.layers.tracing import map_size
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.names import (
    BLOCK_PARTS,
    BOTH,
    FC_NORM,
    HEAD,
    NORM,
    OUT_NORM,
    POOL_NORM_CLASSIFIER,
    PROJECTION,
)
from mixmae_bench.backbones.official.shapes import State, flat_stages, mlp_ratio
from mixmae_bench.errors import UserError
from mixmae_bench.registry import MODELS

ARCHS = {
    "small": dict(
        embed_dims=(64, 128, 320, 512),
        depths=(3, 4, 6, 3),
        num_heads=(1, 2, 5, 8),
        mlp_ratios=(8, 8, 4, 4),
        sr_ratios=(8, 4, 2, 1),
    ),
}


class PooledAttention(nn.Module):
    """Attention to keys averaged over `sr` x `sr` tokens, then projected and normalised (U9)."""

    def __init__(self, dim: int, num_heads: int, sr: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pool = sr
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr = nn.Conv2d(dim, dim, 1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, packed: bool) -> Tensor:
        """Attend among tokens (B, H, W, C). Packed maps have half the side and half the pooling (U5)."""
        B, H, W, C = tokens.shape
        pool = max(1, self.pool // 2) if packed else self.pool
        # Ceil mode and averages without padding, as `pool` need not divide the map.
        keys = F.avg_pool2d(tokens.permute(0, 3, 1, 2), pool, ceil_mode=True, count_include_pad=False)
        keys = self.norm(self.sr(keys).flatten(2).transpose(1, 2))
        q = self.q(tokens).view(B, H * W, self.num_heads, -1).transpose(1, 2)
        k, v = self.kv(keys).view(B, -1, 2, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(B, H, W, C))


class Block(nn.Module):
    """Pre-norm block. The first one of a stage begins with a downsample: a convolution without norm."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        sr: int,
        mlp_ratio: float,
        drop_path: float,
        downsample_from: int | None,
    ) -> None:
        super().__init__()
        self.downsample = Downsample(downsample_from, dim) if downsample_from else None
        self.norm1 = nn.LayerNorm(dim)
        self.attn = PooledAttention(dim, num_heads, sr)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, tokens: Tensor, packed: bool) -> Tensor:
        if self.downsample is not None:
            tokens = self.downsample(tokens)
        tokens, normed = residual_norm(tokens, None, self.norm1)
        tokens, normed = residual_norm(tokens, self.attn(normed, packed), self.norm2, self.drop_path)
        return tokens + self.drop_path(self.mlp(normed))


class Downsample(nn.Module):
    """A 2x2 convolution of stride 2; maps of odd size are zero-padded."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(dim, out_dim, 2, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = F.pad(tokens, (0, 0, 0, tokens.shape[2] % 2, 0, tokens.shape[1] % 2))
        return self.proj(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@MODELS.register_module()
class UMPVT(Encoder):
    """UM-MAE's PVT, with a position table added to the tokens.

    The table is sin-cos and frozen in pretraining, and learnt in fine-tuning. For other input sizes it is
    resized.

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dims, depths, num_heads, mlp_ratios and sr_ratios
            (pooling of the keys per stage for whole images; packed images use half).
        img_size: Side in pixels of the square images that the table is made for.
        patch_size: Side of a patch in pixels.
        drop_path_rate: Stochastic depth rate of the last block; rises linearly from 0 at the first.
        learn_positions: Whether the position table is trained.
        final_norm: Whether the last map is normalised. Fine-tuned classifiers pool before the norm (U8).
        out_indices: Stages that `forward` returns.
        with_cp: Whether to recompute activations of blocks in the backward pass: less memory, more time.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)`, or None for random initialisation.
        in_chans: Channels of the images.
        norm_eps: Epsilon of the last norm (published: 1e-6); norms of blocks always have 1e-5 (U3).
    """

    def __init__(
        self,
        arch: str | dict = "small",
        img_size: int = 256,
        patch_size: int = 4,
        drop_path_rate: float = 0.0,
        learn_positions: bool = False,
        final_norm: bool = True,
        out_indices: tuple[int, ...] = (-1,),
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        norm_eps: float = 1e-6,
    ) -> None:
        arch = named_arch(arch, ARCHS)
        depths = tuple(arch["depths"])
        super().__init__(out_indices, len(depths), with_cp, init_cfg)
        self.depths = depths
        self.out_channels = list(arch["embed_dims"])
        self.out_strides = [patch_size * 2**i for i in range(len(depths))]
        self.grid = (img_size // patch_size, img_size // patch_size)
        dim = self.out_channels[0]
        self.in_chans = in_chans
        self.patch_embed = PatchEmbed(
            None, patch_size, in_chans, dim, flatten=False, output_fmt="NHWC", dynamic_img_pad=True
        )
        self.pos_embed = nn.Parameter(sincos_table(dim, self.grid), requires_grad=learn_positions)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.blocks = nn.ModuleList(
            Block(
                self.out_channels[stage],
                arch["num_heads"][stage],
                arch["sr_ratios"][stage],
                arch["mlp_ratios"][stage],
                next(rates),
                self.out_channels[stage - 1] if stage and block == 0 else None,
            )
            for stage, depth in enumerate(depths)
            for block in range(depth)
        )
        self.norm = nn.LayerNorm(self.out_channels[-1], eps=norm_eps) if final_norm else nn.Identity()
        self.add_out_norms()
        self.apply(um_mae_init)

    def embed(self, images: Tensor) -> Tensor:
        return self.patch_embed(images)

    def stage_maps(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Iterator[Tensor]:
        if segment_ids is not None or visible is not None:
            raise UserError(
                "UMPVT attends to pooled keys and does not support segment_ids or visible; use it with "
                "SimMIM or UM-MAE"
            )
        size = map_size(tokens)
        table = table_positions(self.pos_embed, self.grid, size, coords)
        tokens = tokens + table
        blocks = iter(self.blocks)
        for depth in self.depths:
            for _ in range(depth):
                tokens = call(next(blocks), tokens, coords is not None, with_cp=self.with_cp)
            yield tokens

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        table = state.get("pos_embed")
        own = self.pos_embed
        if table is None or table.shape == own.shape or table.ndim != 3 or table.shape[-1] != own.shape[-1]:
            return []
        state["pos_embed"] = resize_square_table(table[0], self.pos_embed.shape[1])[None]
        return ["pos_embed"]

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        return flat_layer_depth(param_name, prefix, sum(self.depths))


# Checkpoints and constructors of the official code.

KEYS = (
    "pos_embed",
    PROJECTION,
    rf"blocks\.\d+\.{BLOCK_PARTS}",
    rf"blocks\.\d+\.attn\.(q|kv|sr|norm){BOTH}",
    rf"blocks\.\d+\.downsample\.proj{BOTH}",
)


def um_pvt_arguments(a: Arguments, packed: bool = False) -> dict:
    """Map the arguments of the official PVT to those of `UMPVT`.

    Args:
        a: Arguments of the official constructor.
        packed: Whether the official `sr_ratios` are for packed maps; ours are for whole maps (U5).

    Raises:
        UserError: If the pooling does not divide a stage's grid.
    """
    img_size, patch_size = a.count("img_size", 224), a.count("patch_size", 4)
    ratios = a.counts("sr_ratios", [4, 2, 1, 1] if packed else [8, 4, 2, 1])
    for stage, ratio in enumerate(ratios):
        side = img_size // patch_size // 2 ** (stage + packed)
        if side % ratio:
            raise UserError(
                f"sr_ratios={ratios} is not supported: {ratio} does not divide the grid of stage {stage} "
                f"({side} tokens per side), and the official pooling drops the remainder"
            )
    return dict(
        arch=dict(
            embed_dims=a.counts("embed_dims", [64, 128, 320, 512]),
            depths=a.depths([3, 4, 6, 3]),
            num_heads=a.counts("num_heads", [1, 2, 5, 8]),
            mlp_ratios=a.reals("mlp_ratios", [8, 8, 4, 4]),
            sr_ratios=[2 * ratio for ratio in ratios] if packed else ratios,
        ),
        img_size=img_size,
        patch_size=patch_size,
        norm_eps=a.norm_eps(),
    )


def _finetuned(a: Arguments) -> dict:
    a.without_effect("global_pool")
    return dict(
        **um_pvt_arguments(a),
        drop_path_rate=a.real("drop_path_rate", 0.1),
        final_norm=False,
        learn_positions=True,
    )


def _settings(encoder: State, img_size: int | None) -> dict:
    firsts, depths = flat_stages(encoder)
    weights = [encoder[f"blocks.{first}.mlp.fc1.weight"] for first in firsts]
    dims = tuple(weight.shape[1] for weight in weights)
    arch = dict(
        embed_dims=dims,
        depths=depths,
        num_heads=tuple(max(1, dim // 64) for dim in dims),
        mlp_ratios=tuple(mlp_ratio([weight]) for weight in weights),
        sr_ratios=tuple(2**i for i in reversed(range(len(dims)))),
    )
    return dict(arch=arch_name(arch, ARCHS), img_size=img_size, final_norm="norm.weight" in encoder)


CHECKPOINT = BackboneCheckpoint(UMPVT, _settings, defaults=("num_heads", "sr_ratios", "norm_eps"))

register(
    Kind(
        "UM-MAE fine-tuning, PVT",
        "implus/UM-MAE",
        "ImageClassifier",
        CHECKPOINT,
        POOL_NORM_CLASSIFIER,
        keys=KEYS,
        optional=(NORM, FC_NORM, HEAD, OUT_NORM),
        files=("models_pvt",),
        constructor=_finetuned,
        groups=dict(no_decay=["pos_embed"]),
    )
)
