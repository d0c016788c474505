"""Linear probing as in MAE (arXiv 2111.06377, appendix A): frozen backbone, batch norm, linear layer."""

from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mixmae_bench.registry import MODELS


@MODELS.register_module()
class LinearProbe(ImageClassifier):
    """mmpretrain's classifier with a frozen backbone, which is always in evaluation mode."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "LinearProbe":
        super().train(mode)
        self.backbone.eval()
        return self


@MODELS.register_module()
class PoolBatchNorm(nn.Module):
    """Global average pooling of the last map, then batch norm without affine parameters, as in MAE's probe.

    Args:
        in_channels: Channels of the last map.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels, eps=1e-6, affine=False)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return features (B, C) of the last of the maps (B, C_i, H_i, W_i)."""
        return (self.norm(maps[-1].mean(dim=(2, 3))),)
