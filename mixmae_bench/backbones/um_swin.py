"""UM-MAE's Swin: an MLP computes attention biases from relative coordinates (arXiv 2205.10063).

Biases of packed tokens therefore follow from their original coordinates. Parameter names are the official
ones (implus/UM-MAE models_swin.py and models_mae_swin.py at cb7776b): flat `blocks`, with the downsample
inside the first block of a stage. Difference: any input size is supported (border windows are smaller).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp, PatchEmbed
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.arch import arch_name, drop_path_rates, flat_layer_depth, named_arch
from mixmae_bench.backbones.layers.dense_attention import window_attention
from mixmae_bench.backbones.layers.dense_windows import DenseWindows, outside_modes
from mixmae_bench.backbones.layers.forms import windows_are_whole
from mixmae_bench.backbones.layers.init import um_mae_init
from mixmae_bench.backbones.layers.packed_windows import Packed
from mixmae_bench.backbones.layers.residual_norm import residual_norm
from mixmae_bench.backbones.layers.token_coords import TokenCoords
from mixmae_bench.backbones.layers.windows import Partition, attend_in_segments, run_blocks, spread
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.kinds import BackboneCheckpoint, Kind, register
from mixmae_bench.backbones.official.names import (
    BLOCK_PARTS,
    BOTH,
    EMBED,
    FC_NORM,
    HEAD,
    NORM,
    OUT_NORM,
    POOL_NORM_CLASSIFIER,
    QKV,
)
from mixmae_bench.backbones.official.shapes import State, fc1_weights, flat_stages, mlp_ratio
from mixmae_bench.registry import MODELS

ARCHS = {
    "tiny": dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), posmlp_dim=32),
    "large": dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), posmlp_dim=64),
}
FAR = 4096
"""Larger than any relative coordinate, and a power of two, so that sums with it are exact in float32."""


@dataclass(frozen=True)
class RelativeCoords:
    """Relative coordinates (key minus query) of one bucket, as distinct values and indices into them.

    Attributes:
        values: (row, column), (u, 2), in tokens of the stage; half-integers are possible.
        index: Row of `values` for every query and key, int64 (b, k, n, n); b is 1 if all images share them.
    """

    values: Tensor
    index: Tensor


def relative_coords_in(
    windows: Partition | DenseWindows, coords: Tensor | None, dtype: torch.dtype
) -> list[RelativeCoords] | Tensor:
    """Return what blocks need of the relative coordinates of packed tokens (coords) or of a map (None)."""
    if isinstance(windows, DenseWindows):
        return log_offsets(windows.side, windows.unit, windows.index.device, dtype)
    return relative_coords_of(windows, coords)


@torch.compiler.disable  # as `windows.partition_map`
def relative_coords_of(partition: Partition, coords: Tensor | None) -> list[RelativeCoords]:
    """Return the relative coordinates of every bucket of a partition.

    Args:
        partition: The partition.
        coords: (row, column) of every token, (B, H, W, 2), or None for the coordinates in the map.
    """
    if coords is None:
        return [_all(bucket.relative_coords[None]) for bucket in partition.buckets]
    buckets = partition.split(partition.arrange(coords))
    relative_coords = [own[:, :, None] - own[:, :, :, None] for own in buckets]
    # For FLOPs, keep duplicates: the official code computes the bias of every query and key of every image.
    return [_all(away) if windows_are_whole() else _distinct(away) for away in relative_coords]


def _all(relative_coords: Tensor) -> RelativeCoords:
    index = torch.arange(relative_coords.shape[:-1].numel(), device=relative_coords.device)
    return RelativeCoords(relative_coords.flatten(0, -2), index.view(relative_coords.shape[:-1]))


def _distinct(relative_coords: Tensor) -> RelativeCoords:
    every = relative_coords.flatten(0, -2)
    codes, index = (every[:, 0] * FAR + every[:, 1]).unique(return_inverse=True)
    values = every.new_empty(len(codes), 2).index_copy_(0, index, every)
    return RelativeCoords(values, index.view(relative_coords.shape[:-1]))


@torch.compiler.disable
@lru_cache(maxsize=64)
def log_offsets(side: int, unit: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the MLP's input for every row of a bias table (see `DenseWindows`): (side * side, 2).

    Rows are ordered by query minus key, and the MLP's input is key minus query.
    """

    def make() -> Tensor:
        steps = torch.arange(side // 2, -side // 2, -1, dtype=torch.float64) / unit
        values = torch.cartesian_prod(steps, steps).view(-1, 2)
        return (values.sign() * values.abs().log1p()).to(device, dtype)

    return outside_modes(make)


class PositionAttention(nn.Module):
    """Window attention with the bias `posmlp(sign(d) log(1 + |d|))`, d = (row, column) of key minus query.

    `posmlp.2.bias` adds a constant to entire softmax rows and has no effect (U4).
    """

    def __init__(self, dim: int, num_heads: int, window_size: int, shifted: bool, posmlp_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.shifted = shifted
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.posmlp = nn.Sequential(
            nn.Conv2d(2, posmlp_dim, 1), nn.ReLU(), nn.Conv2d(posmlp_dim, num_heads, 1)
        )

    def forward(
        self,
        tokens: Tensor,
        windows: Partition | DenseWindows,
        relative_coords: list[RelativeCoords] | Tensor,
    ) -> Tensor:
        """Attend inside windows; return (B, L, C).

        Args:
            tokens: Tokens (B, L, C), see `run_blocks`.
            windows: The windows.
            relative_coords: Result of `relative_coords_in`.
        """
        qkv = self.qkv(tokens)
        if isinstance(windows, DenseWindows):
            out = window_attention(qkv, self.num_heads, self.table(relative_coords), windows)
        else:
            out = attend_in_segments(qkv, self.num_heads, map(self.bias, relative_coords), windows)
        return self.proj(out)

    def table(self, offsets: Tensor) -> Tensor:
        """Return the biases (rows, heads) of `log_offsets` (rows, 2)."""
        first, activation, second = self.posmlp  # 1x1 convolutions, computed as matrix products
        hidden = F.linear(offsets.to(first.weight.dtype), first.weight.flatten(1), first.bias)
        return F.linear(activation(hidden), second.weight.flatten(1), second.bias)

    def bias(self, relative_coords: RelativeCoords) -> Tensor:
        """Return biases (b, k, heads, n, n): the MLP runs once per distinct value."""
        values = relative_coords.values.to(self.posmlp[0].weight.dtype)
        values = (values.sign() * values.abs().log1p()).T[None, :, None]
        table = self.posmlp(values)[0, :, 0].T
        return F.embedding(relative_coords.index, table).permute(0, 1, 4, 2, 3)


class Block(nn.Module):
    """Pre-norm block with norms of eps 1e-5 (U3). The first one of a stage begins with a downsample."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        shifted: bool,
        posmlp_dim: int,
        mlp_ratio: float,
        drop_path: float,
        downsample: "Downsample | None",
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.norm1 = nn.LayerNorm(dim)
        self.attn = PositionAttention(dim, num_heads, window_size, shifted, posmlp_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        tokens: Tensor,
        windows: Partition | DenseWindows,
        relative_coords: list[RelativeCoords] | Tensor,
    ) -> Tensor:
        tokens, normed = residual_norm(tokens, None, self.norm1)
        branch = self.attn(normed, windows, relative_coords)
        tokens, normed = residual_norm(tokens, branch, self.norm2, self.drop_path)
        return tokens + self.drop_path(self.mlp(normed))


class Downsample(nn.Module):
    """Patch merging: norm, then a 2x2 convolution of stride 2; maps of odd size are zero-padded."""

    def __init__(self, dim: int, out_dim: int, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.proj = nn.Conv2d(dim, out_dim, 2, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = F.pad(self.norm(tokens), (0, 0, 0, tokens.shape[2] % 2, 0, tokens.shape[1] % 2))
        return self.proj(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@MODELS.register_module()
class UMSwin(Encoder):
    """UM-MAE's Swin. It has no tables, so checkpoints fit any window size and input size (U5).

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dim, depths, num_heads and, optionally, posmlp_dim, the
            hidden width of the position MLP (default: 32).
        window_size: Side of a window in tokens; clamped to the map at run time (S1). Published: 8 in
            pretraining (on packed maps of half the side), 16 in fine-tuning.
        img_size: Side in pixels of the pretraining images.
        patch_size: Side of a patch in pixels.
        mlp_ratio: Ratio of hidden width to width of the MLPs.
        drop_path_rate: Stochastic depth rate of the last block; rises linearly from 0 at the first.
        final_norm: Whether the last map is normalised. Fine-tuned classifiers pool before the norm (U8).
        out_indices: Stages that `forward` returns.
        with_cp: Whether to recompute activations of blocks in the backward pass: less memory, more time.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)`, or None for random initialisation.
        in_chans: Channels of the images.
        norm_eps: Epsilon of the norms of patch embedding, patch merging and last map (published: 1e-6);
            norms of blocks always have 1e-5 (U3).
    """

    def __init__(
        self,
        arch: str | dict = "tiny",
        window_size: int = 16,
        img_size: int = 256,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
        out_indices: tuple[int, ...] = (-1,),
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        norm_eps: float = 1e-6,
    ) -> None:
        arch = named_arch(arch, ARCHS)
        dim, depths = arch["embed_dim"], tuple(arch["depths"])
        super().__init__(out_indices, len(depths), with_cp, init_cfg)
        self.depths = depths
        self.out_channels = [dim * 2**i for i in range(len(depths))]
        self.out_strides = [patch_size * 2**i for i in range(len(depths))]
        self.grid = (img_size // patch_size, img_size // patch_size)
        self.in_chans = in_chans
        self.patch_embed = PatchEmbed(
            None,
            patch_size,
            in_chans,
            dim,
            norm_layer=partial(nn.LayerNorm, eps=norm_eps),
            flatten=False,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.blocks = nn.ModuleList(
            Block(
                self.out_channels[stage],
                arch["num_heads"][stage],
                window_size,
                block % 2 == 1,
                arch.get("posmlp_dim", 32),
                mlp_ratio,
                next(rates),
                Downsample(self.out_channels[stage - 1], self.out_channels[stage], norm_eps)
                if stage and block == 0
                else None,
            )
            for stage, depth in enumerate(depths)
            for block in range(depth)
        )
        self.norm = nn.LayerNorm(self.out_channels[-1], eps=norm_eps) if final_norm else nn.Identity()
        self.add_out_norms()
        self.apply(um_mae_init)

    def embed(self, images: Tensor) -> Tensor:
        return self.patch_embed(images)

    def embed_token(self, token: Tensor) -> Tensor:
        return self.patch_embed.norm(token)

    def stage_maps(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Iterator[Tensor]:
        ends = list(accumulate(self.depths))
        own = None if visible is None else TokenCoords(visible, self.grid)
        for stage, (start, end) in enumerate(pairwise([0, *ends])):
            blocks = self.blocks[start:end]
            if blocks[0].downsample is not None:
                tokens = blocks[0].downsample(tokens)
                # Coordinates of the top-left token of each 2x2 block, halved without rounding.
                coords = None if coords is None else coords[:, ::2, ::2] / 2
                own = None if own is None else own.merged()
            stage_segment_ids = None if segment_ids is None else spread(segment_ids, tokens.shape[1:3])
            of_windows = partial(relative_coords_in, coords=coords, dtype=tokens.dtype)
            patch = self.out_strides[-1] / (2 * self.out_strides[stage])  # of a mask, in tokens
            packed = None if coords is None else Packed(coords, patch)
            tokens = run_blocks(blocks, tokens, stage_segment_ids, of_windows, self.with_cp, packed, own)
            yield tokens

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        """Return an empty list: biases are computed from coordinates."""
        return []

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        return flat_layer_depth(param_name, prefix, sum(self.depths))


# Checkpoints and constructors of the official code.

KEYS = (
    EMBED,
    rf"blocks\.\d+\.({BLOCK_PARTS}|{QKV})",
    rf"blocks\.\d+\.attn\.posmlp\.[02]{BOTH}",
    rf"blocks\.\d+\.downsample\.(norm|proj){BOTH}",
)


def um_swin_arguments(a: Arguments, window_size: int = 8) -> dict:
    """Map the arguments of the official Swin, with its default window size, to those of `UMSwin`."""
    return dict(
        arch=dict(
            embed_dim=a.count("embed_dim", 96),
            depths=a.depths([2, 2, 6, 2]),
            num_heads=a.counts("num_heads", [3, 6, 12, 24]),
            posmlp_dim=a.count("posmlp_dim", 32),
        ),
        window_size=a.count("window_size", window_size),
        img_size=a.count("img_size", 256),
        patch_size=a.count("patch_size", 4),
        mlp_ratio=a.real("mlp_ratio", 4.0),
        norm_eps=a.norm_eps(),
    )


def _finetuned(a: Arguments) -> dict:
    a.without_effect("global_pool")
    return dict(
        **um_swin_arguments(a, window_size=16),
        drop_path_rate=a.real("drop_path_rate", 0.1),
        final_norm=False,
        with_cp=a.flag("with_cp", False),
    )


def _settings(encoder: State, img_size: int | None) -> dict:
    firsts, depths = flat_stages(encoder)
    posmlps = [encoder[f"blocks.{first}.attn.posmlp.2.weight"] for first in firsts]
    arch = dict(
        embed_dim=len(encoder["patch_embed.proj.weight"]),
        depths=depths,
        num_heads=tuple(len(weight) for weight in posmlps),
        posmlp_dim=posmlps[0].shape[1],
    )
    return dict(
        arch=arch_name(arch, ARCHS),
        final_norm="norm.weight" in encoder,
        mlp_ratio=mlp_ratio(fc1_weights(encoder)),
    )


CHECKPOINT = BackboneCheckpoint(UMSwin, _settings, defaults=("window_size", "norm_eps"))

register(
    Kind(
        "UM-MAE fine-tuning, Swin",
        "implus/UM-MAE",
        "ImageClassifier",
        CHECKPOINT,
        POOL_NORM_CLASSIFIER,
        keys=KEYS,
        optional=(NORM, FC_NORM, HEAD, OUT_NORM),
        files=("models_swin",),
        constructor=_finetuned,
    )
)
