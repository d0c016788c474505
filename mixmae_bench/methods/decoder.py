"""The plain transformer decoder of MixMAE: visible features in, pixels of every cell out."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from mixmae_bench.backbones.mixmae_swin import xavier_init
from mixmae_bench.backbones.positions import sincos_table


class Decoder(nn.Module):
    """Transformer decoder on a grid of cells (LayerNorm eps 1e-5: M5).

    Official names differ by an underscore: `decoder_embed` is `embed` here, and so on.

    Args:
        in_channels: Width of the encoder's last stage.
        grid: Cells (rows, columns) of the images it is made for.
        out_channels: Values predicted per cell.
        dim: Width.
        depth: Number of blocks.
        num_heads: Heads of every block.
    """

    def __init__(
        self, in_channels: int, grid: tuple[int, int], out_channels: int, dim: int, depth: int, num_heads: int
    ) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(sincos_table(dim, grid), requires_grad=False)
        self.embed = nn.Linear(in_channels, dim)
        self.blocks = nn.ModuleList(
            [Block(dim, num_heads, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(depth)]
        )
        self.norm = nn.LayerNorm(dim)
        self.pred = nn.Linear(dim, out_channels)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.apply(xavier_init)

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Decode sequences of features, some of them hidden.

        Args:
            tokens: Features (B, L, in_channels).
            hidden: Bool (B, L) or broadcastable; True puts the mask token in place of the feature.

        Returns:
            Predictions (B, L, out_channels).
        """
        tokens = self.embed(tokens)
        tokens = torch.where(hidden[..., None], self.mask_token.to(tokens.dtype), tokens) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return self.pred(self.norm(tokens))
