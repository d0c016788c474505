"""timm's transformer block, with `residual_norm`."""

from timm.models import vision_transformer
from torch import Tensor

from mixmae_bench.backbones.layers.residual_norm import residual_norm


class ViTBlock(vision_transformer.Block):
    """Pre-norm block with global attention; arguments and parameter names are timm's, without layer scale."""

    def forward(self, tokens: Tensor) -> Tensor:
        tokens, normed = residual_norm(tokens, None, self.norm1)
        tokens, normed = residual_norm(tokens, self.attn(normed), self.norm2, self.drop_path1)
        return tokens + self.drop_path2(self.mlp(normed))
