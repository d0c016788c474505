"""MaskFeat's targets, histograms of oriented gradients (arXiv 2112.09133), in float32."""

from functools import cache

import torch
from torch import Tensor, nn

from mixmae_bench.registry import MODELS


@MODELS.register_module(name="HOGTargets")
def hog_targets(**kwargs: object) -> nn.Module:
    """Return mmpretrain's `HOGGenerator`, which fails under autocast to bfloat16 on a CPU.

    Args:
        kwargs: Its arguments.
    """
    return _float32_generator()(**kwargs)


@cache
def _float32_generator() -> type[nn.Module]:
    from mmpretrain.models.selfsup.maskfeat import HOGGenerator  # takes seconds

    class HOGTargets(HOGGenerator):
        def forward(self, images: Tensor) -> Tensor:
            """Return the targets (B, patches, channels) of images (B, 3, H, W)."""
            with torch.autocast(images.device.type, enabled=False):
                return super().forward(images.float())

    return HOGTargets
