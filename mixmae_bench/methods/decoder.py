"""The plain transformer decoder of MixMAE and UM-MAE, which predicts the pixels of patches from features."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones.layers.init import xavier_init
from mixmae_bench.backbones.layers.positions import sincos_table
from mixmae_bench.backbones.layers.vit_block import ViTBlock
from mixmae_bench.backbones.official.arguments import Arguments
from mixmae_bench.backbones.official.layouts import MM_BLOCK, by, within
from mixmae_bench.backbones.official.names import BLOCK_PARTS, BOTH, QKV, Rules
from mixmae_bench.backbones.official.shapes import State, fc1_weights, mlp_ratio, under


class Decoder(nn.Module):
    """Transformer decoder on a grid of patches.

    Official names have the prefix `decoder_`: the official `decoder_embed` is `embed`.

    Args:
        in_channels: Width of the encoder's last stage.
        grid: Patches (rows, columns) of the images that the position table is made for.
        out_channels: Number of values predicted per patch.
        dim: Width.
        depth: Number of blocks.
        num_heads: Number of heads of every block.
        mlp_ratio: Ratio of hidden width to width of the MLPs.
        norm_eps: Epsilon of the norms (published: MixMAE 1e-5, M5; UM-MAE 1e-6, U3).
        expand: Patches per side that correspond to one feature (UM-MAE: 2).
        class_token: Whether sequences start with a class token, with a zero position embedding.
    """

    def __init__(
        self,
        in_channels: int,
        grid: tuple[int, int],
        out_channels: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-5,
        expand: int = 1,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.expand = expand
        norm = partial(nn.LayerNorm, eps=norm_eps)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        table = sincos_table(dim, grid)
        if class_token:
            table = torch.cat([torch.zeros(1, 1, dim), table], dim=1)
        self.pos_embed = nn.Parameter(table, requires_grad=False)
        self.embed = nn.Linear(in_channels, dim * expand**2)
        self.blocks = nn.ModuleList(
            [ViTBlock(dim, num_heads, mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth)]
        )
        self.norm = norm(dim)
        self.pred = nn.Linear(dim, out_channels)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.apply(xavier_init)

    def embed_map(self, features: Tensor) -> Tensor:
        """Embed a map of features (B, h, w, in_channels) as patches (B, h*expand * w*expand, dim)."""
        tokens = self.embed(features).permute(0, 3, 1, 2)
        # Channel d * 4 + 2 * i + j goes to d, row i, column j.
        return F.pixel_shuffle(tokens, self.expand).flatten(2).transpose(1, 2)

    def complete(
        self, tokens: Tensor, hidden: Tensor, pos_embed: Tensor | None = None, first: Tensor | None = None
    ) -> Tensor:
        """Replace hidden patches by the mask token, and predict all patches.

        Args:
            tokens: Embedded patches (B, L, dim); values of hidden patches are ignored.
            hidden: Bool (B, L) or broadcastable, True for patches to replace; or (m, 1 or B, L) to complete
                every sequence m times, as a batch of m * B.
            pos_embed: Position embedding of every token (B, L, dim), or None for the decoder's table.
            first: Embedded class token (B, 1, dim), or None.

        Returns:
            Predictions (B, L, out_channels).
        """
        tokens = torch.where(hidden[..., None], self.mask_token, tokens).flatten(0, -3)
        if first is not None:
            tokens = torch.cat([first, tokens], dim=1)
        tokens = tokens + (self.pos_embed if pos_embed is None else pos_embed)
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens[:, 0 if first is None else 1 :]))


# Checkpoints and constructors of the official codes.

DECODER_KEYS = (
    "mask_token",
    "decoder_pos_embed",
    rf"decoder_(embed|norm|pred){BOTH}",
    rf"decoder_blocks\.\d+\.({BLOCK_PARTS}|{QKV})",
)
DECODER_RULES: Rules = (("mask_token", "decoder.mask_token"), ("decoder_", "decoder."), ("", "backbone."))
DECODER_MMPRETRAIN = by(
    (r"neck\.ln1\.", "decoder_norm."),
    *within(r"neck\.decoder_blocks\.(\d+)\.", r"decoder_blocks.\1.", MM_BLOCK),
    (r"neck\.(decoder_(?:embed|pred)\.|decoder_pos_embed$|mask_token$)", r"\1"),
)
DECODER_DEFAULTS = ("num_heads of the decoder", "norm_eps of the decoder")
"""Settings that cannot be inferred from shapes."""


def decoder_settings(state: State) -> dict:
    """Infer the arguments of a method's decoder from shapes."""
    decoder = under("decoder.", state)
    dim = decoder["mask_token"].shape[-1]
    depth = len({name.split(".")[1] for name in decoder if name.startswith("blocks.")})
    settings = dict(dim=dim, depth=depth, num_heads=max(1, dim // 32))  # published: 32 channels per head
    if depth and (ratio := mlp_ratio(fc1_weights(decoder))) != 4:
        settings["mlp_ratio"] = ratio
    return settings


def decoder_arguments(a: Arguments, dim: str, depth: int, mlp_ratio: float) -> dict:
    """Map the arguments of an official constructor to those of the decoder.

    Args:
        a: Arguments of the official constructor.
        dim: Name of the official argument for the width.
        depth: Default number of blocks.
        mlp_ratio: Ratio of the MLPs; its argument has different names in the official codes.
    """
    return dict(
        dim=a.count(dim, 512),
        depth=a.depth("decoder_depth", depth, least=0),
        num_heads=a.count("decoder_num_heads", 16),
        mlp_ratio=mlp_ratio,
        norm_eps=a.norm_eps(),
    )
