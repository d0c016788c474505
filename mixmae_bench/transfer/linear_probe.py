"""Linear probing as in MAE (arXiv 2111.06377, appendix A): frozen backbone, batch norm, one linear layer."""

from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mixmae_bench.registry import MODELS


@MODELS.register_module()
class LinearProbe(ImageClassifier):
    """mmpretrain's classifier on a backbone that is neither trained nor in training mode."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "LinearProbe":
        super().train(mode)
        self.backbone.eval()
        return self


@MODELS.register_module()
class PoolBatchNorm(nn.Module):
    """Mean over the last map, then batch norm without a scale of its own: what MAE's probe is fed.

    Args:
        in_channels: Channels of the last map.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels, eps=1e-6, affine=False)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Turn maps (B, C_i, H_i, W_i), of which the last is read, into one vector (B, C)."""
        return (self.norm(maps[-1].mean(dim=(2, 3))),)
