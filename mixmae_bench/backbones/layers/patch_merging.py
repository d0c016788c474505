"""Patch merging of hierarchical transformers."""

import torch.nn.functional as F
from timm.models import swin_transformer
from torch import Tensor

from mixmae_bench.backbones.layers.residual_norm import residual_norm
from mixmae_bench.backbones.layers.tracing import map_size


class PatchMerging(swin_transformer.PatchMerging):
    """timm's patch merging, without a copy for maps of even size."""

    def forward(self, tokens: Tensor) -> Tensor:
        H, W = map_size(tokens)
        if H % 2 or W % 2:
            tokens = F.pad(tokens, (0, 0, 0, W % 2, 0, H % 2))
        neighbours = tokens.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(residual_norm(neighbours, None, self.norm)[1])
