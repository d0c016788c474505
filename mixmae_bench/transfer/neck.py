"""Necks between a backbone and mmpretrain's classification heads."""

from torch import Tensor, nn

from mixmae_bench.registry import MODELS


@MODELS.register_module()
class PoolNorm(nn.Module):
    """Mean over the last map, then a norm, as in UM-MAE's classifiers (U8; models_swin.py at cb7776b).

    For backbones with `final_norm=False`, with mmpretrain's `LinearClsHead` behind it. (MixMAE and SimMIM
    normalise before the mean: their backbones do, and `GlobalAveragePooling` is their neck.)

    Args:
        in_channels: Channels of the last map.
        norm_eps: Epsilon of the norm (published: 1e-6, U3).
    """

    def __init__(self, in_channels: int, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=norm_eps)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Turn maps (B, C_i, H_i, W_i), of which the last is read, into one vector (B, C)."""
        return (self.norm(maps[-1].mean(dim=(2, 3))),)
