"""MixMAE's encoder: a Swin with large windows that do not shift (arXiv 2205.13137, section 3.3).

Parameter names are the official ones (Sense-X/MixMIM models_mixmim.py at 2b2f5a9), so an official
checkpoint fits without renaming. Differences: any input size (windows are padded, the position table
is resized), and maps of every stage for dense tasks.
"""

import torch
from timm.layers import DropPath, Mlp, PatchEmbed
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn

from mixmae_bench.backbones.encoder import Encoder
from mixmae_bench.backbones.positions import resize_grid, resize_square_table, sincos_table
from mixmae_bench.backbones.windows import WindowAttention
from mixmae_bench.registry import MODELS

ARCHS = {
    # 0.97 M parameters for 32-px scenes; not published.
    "small": dict(embed_dim=64, depths=(2, 4), num_heads=(2, 4), window_size=(8, 4)),
    # The official repository's mixmim_base, mixmim_large and mixmim_huge.
    "base": dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=(14, 14, 14, 7)),
    "large": dict(
        embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=(14, 14, 14, 7)
    ),
    "huge": dict(
        embed_dim=352, depths=(2, 2, 18, 2), num_heads=(11, 22, 44, 88), window_size=(14, 14, 14, 7)
    ),
}


class Block(nn.Module):
    """Pre-norm transformer block: window attention, then an MLP (exact GELU, eps 1e-5: M5)."""

    def __init__(
        self, dim: int, num_heads: int, window_size: int, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, tokens: Tensor, groups: Tensor | None) -> Tensor:
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), groups))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class Stage(nn.Module):
    """Blocks at one resolution, and the patch merging (timm's order of neighbours: M3) to the next."""

    def __init__(self, blocks: list[Block], downsample: PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class MixMAESwin(Encoder):
    """MixMAE's hierarchical encoder.

    Args:
        arch: A name in `ARCHS`, or a dict with embed_dim, depths, num_heads and window_size.
        img_size: Side in pixels of the square images that the position and bias tables are made for.
            A window at least as large as its stage's grid becomes the grid (M1).
        patch_size: Pixels per token of the first stage.
        mlp_ratio: Hidden width of the MLPs in units of their width.
        drop_path_rate: Stochastic depth of the last block; rises linearly from 0 at the first.
        out_indices: Stages that `forward` returns.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE)`, or None for random weights.

    Raises:
        ValueError: Where `img_size` is not a multiple of the last stage's stride, or `arch` is unknown.
    """

    def __init__(
        self,
        arch: str | dict = "base",
        img_size: int = 224,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_indices: tuple[int, ...] = (-1,),
        init_cfg: dict | None = None,
    ) -> None:
        if isinstance(arch, str):
            if arch not in ARCHS:
                raise ValueError(f"unknown arch '{arch}' of MixMAESwin; known: {', '.join(ARCHS)}")
            arch = ARCHS[arch]
        dim, depths = arch["embed_dim"], tuple(arch["depths"])
        last = len(depths) - 1
        super().__init__(tuple(i % len(depths) for i in out_indices), init_cfg)
        self.depths = depths
        self.out_channels = [dim * 2**i for i in range(len(depths))]
        self.out_strides = [patch_size * 2**i for i in range(len(depths))]
        if img_size % self.out_strides[-1]:
            raise ValueError(f"img_size {img_size} of MixMAESwin is not a multiple of {self.out_strides[-1]}")

        self.patch_embed = PatchEmbed(
            None,
            patch_size,
            3,
            dim,
            norm_layer=nn.LayerNorm,
            flatten=False,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        self.grid = (img_size // patch_size, img_size // patch_size)
        self.absolute_pos_embed = nn.Parameter(sincos_table(dim, self.grid), requires_grad=False)
        rates = torch.linspace(0, drop_path_rate, sum(depths)).split(depths)
        self.layers = nn.ModuleList()
        for i, (width, heads, window) in enumerate(
            zip(self.out_channels, arch["num_heads"], arch["window_size"], strict=True)
        ):
            window = min(window, img_size // self.out_strides[i])
            blocks = [Block(width, heads, window, mlp_ratio, rate) for rate in rates[i].tolist()]
            self.layers.append(Stage(blocks, PatchMerging(width) if i < last else None))
        self.norm = nn.LayerNorm(self.out_channels[-1])
        self.add_out_norms()
        self.apply(xavier_init)

    def embed(self, images: Tensor) -> Tensor:
        return self.patch_embed(images)

    def encode(self, tokens: Tensor, groups: Tensor | None = None) -> list[Tensor]:
        tokens = tokens + self.positions(tokens.shape[1:3]).to(tokens.dtype)
        maps = []
        for stage in self.layers:
            stage_groups = None if groups is None else spread(groups, tokens.shape[1:3])
            for block in stage.blocks:
                tokens = block(tokens, stage_groups)
            maps.append(tokens)
            if stage.downsample is not None:
                tokens = stage.downsample(tokens)
        maps[-1] = self.norm(maps[-1])
        return maps

    def positions(self, size: tuple[int, int]) -> Tensor:
        """Return the position table for a grid `size` (H, W) as (1, H, W, C)."""
        table = self.absolute_pos_embed
        if tuple(size) != self.grid:
            table = resize_grid(table[0], self.grid, tuple(size))
        return table.view(1, *size, -1)

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]:
        """Resize bicubically, as the official util/pos_embed.py does (M9: sin-cos tables are not remade)."""
        resized = []
        for name, own in self.state_dict().items():
            table = state.get(name)
            if table is None or table.shape == own.shape:
                continue
            if name == "absolute_pos_embed":
                state[name] = resize_square_table(table[0], own.shape[1])[None]
            elif name.endswith("relative_position_bias_table"):
                state[name] = resize_square_table(table, len(own))
            else:
                continue
            resized.append(name)
        return resized

    def get_layer_depth(self, param_name: str, prefix: str = "") -> tuple[int, int]:
        """As the official util/lr_decay.py: a downsample belongs to the next stage's first block (M10)."""
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


def spread(groups: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeat the cells of a group map until it has `size` (H, W).

    Raises:
        ValueError: Where the map's grid does not divide `size`.
    """
    (rows, cols), (H, W) = groups.shape, size
    if H % rows or W % cols:
        raise ValueError(f"a {rows}x{cols} group map does not divide a {H}x{W} grid of tokens")
    return groups.repeat_interleave(H // rows, 0).repeat_interleave(W // cols, 1)


def xavier_init(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every Linear, as the official code (M7)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
