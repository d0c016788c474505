"""Swin transformers with shifted windows (arXiv 2103.14030), as in SimMIM, at any input size.

Parameter names are the official ones (microsoft/SimMIM models/swin_transformer.py at d3e29bc), which
MixMAE's code uses as well. Differences: border windows are smaller if the window size does not divide the
map, tables are resized, and the maps of all stages are available to dense tasks.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from timm.layers import DropPath, Mlp, PatchEmbed
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.layers.arch import drop_path_rates, named_arch
from mixmae_bench.backbones.layers.dense_windows import DenseWindows
from mixmae_bench.backbones.layers.init import truncated_init
from mixmae_bench.backbones.layers.patch_merging import PatchMerging
from mixmae_bench.backbones.layers.positions import resize_geometric, resize_square_table, table_positions
from mixmae_bench.backbones.layers.residual_norm import residual_norm
from mixmae_bench.backbones.layers.token_coords import TokenCoords
from mixmae_bench.backbones.layers.tracing import map_size
from mixmae_bench.backbones.layers.windows import Partition, WindowAttention, run_blocks, spread
from mixmae_bench.registry import MODELS


class Block(nn.Module):
    """Pre-norm transformer block: window attention, then an MLP with exact GELU."""

    def __init__(
        self,
        dim: int,
        attn: WindowAttention,
        mlp_ratio: float,
        drop_path: float,
        norm_layer: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = attn
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, tokens: Tensor, windows: Partition | DenseWindows) -> Tensor:
        tokens, normed = residual_norm(tokens, None, self.norm1)
        tokens, normed = residual_norm(tokens, self.attn(normed, windows), self.norm2, self.drop_path)
        return tokens + self.drop_path(self.mlp(normed))


class Stage(nn.Module):
    """Blocks at one resolution, then the patch merging to the next, in timm's order of neighbours (M3)."""

    def __init__(self, blocks: list[Block], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class WindowTransformer(Encoder):
    """Stages of window attention with patch merging between them: the base of Swin and MixMAE's encoder.

    Subclasses set `absolute_pos_embed`, a parameter (1, H*W, C) or None.

    Args:
        arch: `embed_dim`, `depths`, `num_heads` and `window_size` (one number, or one per stage).
        img_size: Side in pixels of the square images that the position and bias tables are made for.
            Windows are clamped to the grid of their stage (M1, S1).
        patch_size: Side of a patch in pixels.
        mlp_ratio: Ratio of hidden width to width of the MLPs.
        drop_path_rate: Stochastic depth rate of the last block; rises linearly from 0 at the first.
        shifted: Whether every second block shifts its windows.
        out_indices: Stages that `forward` returns.
        with_cp: Whether to recompute activations of blocks in the backward pass: less memory, more time.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)`, or None for random initialisation.
        in_chans: Channels of the images.
        qkv_bias: Whether queries, keys and values have a bias.
        patch_norm: Whether the patch embedding ends with a norm.
        norm_eps: Epsilon of all norms (published: 1e-5, M5 and S2).
        qk_scale: Scale of the products of queries and keys; None for head_dim ** -0.5.

    Raises:
        ValueError: If `img_size` is not a multiple of the last stage's stride.
    """

    absolute_pos_embed: nn.Parameter | None

    def __init__(
        self,
        arch: dict,
        img_size: int,
        patch_size: int,
        mlp_ratio: float,
        drop_path_rate: float,
        shifted: bool,
        out_indices: tuple[int, ...],
        with_cp: bool,
        init_cfg: dict | None,
        in_chans: int,
        qkv_bias: bool,
        patch_norm: bool,
        norm_eps: float,
        qk_scale: float | None = None,
    ) -> None:
        dim, depths = arch["embed_dim"], tuple(arch["depths"])
        windows = arch["window_size"]
        windows = [windows] * len(depths) if isinstance(windows, int) else windows
        super().__init__(out_indices, len(depths), with_cp, init_cfg)
        self.depths = depths
        self.out_channels = [dim * 2**i for i in range(len(depths))]
        self.out_strides = [patch_size * 2**i for i in range(len(depths))]
        if img_size % self.out_strides[-1]:
            raise ValueError(f"img_size {img_size} is not a multiple of {self.out_strides[-1]}")
        self.grid = (img_size // patch_size, img_size // patch_size)
        self.in_chans = in_chans

        norm_layer = partial(nn.LayerNorm, eps=norm_eps)
        self.patch_embed = PatchEmbed(
            None,
            patch_size,
            in_chans,
            dim,
            norm_layer=norm_layer if patch_norm else None,
            flatten=False,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.layers = nn.ModuleList()
        for i, (width, heads, window) in enumerate(
            zip(self.out_channels, arch["num_heads"], windows, strict=True)
        ):
            window = min(window, img_size // self.out_strides[i])
            blocks = [
                Block(
                    width,
                    WindowAttention(
                        width, heads, window, shifted and block % 2 == 1, qkv_bias=qkv_bias, qk_scale=qk_scale
                    ),
                    mlp_ratio,
                    next(rates),
                    norm_layer,
                )
                for block in range(depths[i])
            ]
            last = i == len(depths) - 1
            self.layers.append(Stage(blocks, None if last else PatchMerging(width, norm_layer=norm_layer)))
        self.norm = norm_layer(self.out_channels[-1])
        self.add_out_norms()

    def embed(self, images: Tensor) -> Tensor:
        return self.patch_embed(images)

    def stage_maps(
        self,
        tokens: Tensor,
        segment_ids: Tensor | None = None,
        coords: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Iterator[Tensor]:
        if self.absolute_pos_embed is not None:
            places = coords if visible is None else visible[None].to(tokens.device)
            tokens = tokens + table_positions(self.absolute_pos_embed, self.grid, map_size(tokens), places)
        own = None if visible is None else TokenCoords(visible, self.grid)
        for stage in self.layers:
            stage_segment_ids = None if segment_ids is None else spread(segment_ids, tokens.shape[1:3])
            tokens = run_blocks(stage.blocks, tokens, stage_segment_ids, with_cp=self.with_cp, visible=own)
            yield tokens
            if stage.downsample is not None:
                tokens = stage.downsample(tokens)
                own = None if own is None else own.merged()

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        resized = []
        for name, own in self.state_dict().items():
            table = state.get(name)
            if table is None or table.shape == own.shape:
                continue
            if table.ndim != own.ndim or table.shape[-1] != own.shape[-1]:
                continue  # another width or number of heads, which resizing cannot change
            if name == "absolute_pos_embed":
                state[name] = resize_square_table(table[0], own.shape[1])[None]
            elif name.endswith("relative_position_bias_table"):
                state[name] = self.resize_bias_table(table, len(own))
            else:
                continue
            resized.append(name)
        return resized

    def resize_bias_table(self, table: Tensor, rows: int) -> Tensor:
        """Resize a bias table ((2W-1)^2, heads) to `rows` rows, as in the encoder's official code."""
        return resize_square_table(table, rows)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Assign depths as in the official util/lr_decay.py.

        A downsample has the depth of the next stage's first block (M10).
        """
        num_depths = sum(self.depths) + 2
        name = param_name.removeprefix(prefix)
        if not param_name.startswith(prefix):
            return num_depths - 1, num_depths
        if name.startswith(("patch_embed", "absolute_pos_embed")):
            return 0, num_depths
        if name.startswith("layers."):
            _, stage, part, *rest = name.split(".")
            before = sum(self.depths[: int(stage)])
            block = int(rest[0]) if part == "blocks" else self.depths[int(stage)]
            return before + block + 1, num_depths
        return sum(self.depths), num_depths


ARCHS = {
    "tiny": dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "base": dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    "large": dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}


@MODELS.register_module()
class Swin(WindowTransformer):
    """Swin with shifted windows, SimMIM's encoder.

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dim, depths and num_heads.
        window_size: Side of a window in tokens, for all stages.
        img_size: See `WindowTransformer`.
        patch_size: See `WindowTransformer`.
        mlp_ratio: See `WindowTransformer`.
        drop_path_rate: See `WindowTransformer`.
        ape: Whether to add a learnt position table to the tokens (published: False, S2).
        out_indices: See `WindowTransformer`.
        with_cp: See `WindowTransformer`.
        init_cfg: See `WindowTransformer`.
        in_chans: See `WindowTransformer`.
        qkv_bias: See `WindowTransformer`.
        patch_norm: See `WindowTransformer`.
        norm_eps: See `WindowTransformer`.
        qk_scale: See `WindowTransformer`.
    """

    def __init__(
        self,
        arch: str | dict = "base",
        window_size: int = 7,
        img_size: int = 224,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        ape: bool = False,
        out_indices: tuple[int, ...] = (-1,),
        with_cp: bool = False,
        init_cfg: dict | None = None,
        in_chans: int = 3,
        qkv_bias: bool = True,
        patch_norm: bool = True,
        norm_eps: float = 1e-5,
        qk_scale: float | None = None,
    ) -> None:
        arch = {**named_arch(arch, ARCHS), "window_size": window_size}
        super().__init__(
            arch,
            img_size,
            patch_size,
            mlp_ratio,
            drop_path_rate,
            True,
            out_indices,
            with_cp,
            init_cfg,
            in_chans,
            qkv_bias,
            patch_norm,
            norm_eps,
            qk_scale,
        )
        self.absolute_pos_embed = None
        if ape:
            self.absolute_pos_embed = nn.Parameter(
                torch.empty(1, self.grid[0] * self.grid[1], arch["embed_dim"])
            )
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.apply(truncated_init)

    def resize_bias_table(self, table: Tensor, rows: int) -> Tensor:
        return resize_geometric(table, rows)

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """Assign depths as in the official optimizer.py.

        A downsample has the depth of the block before it, and the norm has the depth of the head.
        """
        depth, num_depths = super().get_layer_depth(param_name, prefix)
        if param_name.startswith((f"{prefix}norm.", f"{prefix}out_norms.")):
            return num_depths - 1, num_depths
        after_block = param_name.startswith(prefix) and ".downsample." in param_name
        return depth - after_block, num_depths
