"""Target generators of mmpretrain's methods, in float32 also under autocast.

Importing mmpretrain's models takes seconds, so the generators are functions.
"""

from contextlib import nullcontext
from functools import cache

import torch
from torch import Tensor, nn
from torch.amp import is_autocast_available

from mixmae_bench.backbones.loading import load_model
from mixmae_bench.registry import MODELS


class InFloat32:
    """Computes targets without autocast: with bfloat16, some are others, and HOG fails on a CPU."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the targets of images (B, 3, H, W)."""
        device = images.device.type
        to_count_flops = not is_autocast_available(device)  # the meta device
        with nullcontext() if to_count_flops else torch.autocast(device, enabled=False):
            return super().forward(images.float())


class Tokenizer(InFloat32):
    """Loads its weights strictly, and does not train them."""

    def init_weights(self) -> None:
        """Load the checkpoint of `init_cfg=dict(type='Pretrained', checkpoint=FILE)`, if it is set.

        Raises:
            UserError: If the file cannot be read, or any tensor is missing, unexpected or of another shape.
        """
        if self.init_cfg:
            load_model(self, self.init_cfg["checkpoint"])


@MODELS.register_module(name="HOGTargets")
def hog_targets(**kwargs: object) -> nn.Module:
    """Return MaskFeat's histograms of oriented gradients (arXiv 2112.09133): mmpretrain's `HOGGenerator`."""
    from mmpretrain.models.selfsup.maskfeat import HOGGenerator

    return _with(InFloat32, HOGGenerator)(**kwargs)


@MODELS.register_module(name="DALLETokenizer")
def dalle_tokenizer(**kwargs: object) -> nn.Module:
    """Return BEiT's tokenizer (arXiv 2106.08254), frozen: mmpretrain's `DALL-E`."""
    from mmpretrain.models.selfsup.cae import DALLEEncoder

    return _with(Tokenizer, DALLEEncoder)(**kwargs).requires_grad_(False)


@cache
def _with(mixin: type, generator: type[nn.Module]) -> type[nn.Module]:
    return type(generator.__name__, (mixin, generator), {"__module__": __name__})
