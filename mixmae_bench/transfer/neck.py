"""Necks between a backbone and mmpretrain's classification heads."""

from torch import Tensor, nn

from mixmae_bench.registry import MODELS


@MODELS.register_module()
class PoolNorm(nn.Module):
    """Global average pooling of the last map, then a norm, as in UM-MAE (U8; models_swin.py at cb7776b).

    Use it between a backbone with `final_norm=False` and mmpretrain's `LinearClsHead`. Backbones of MixMAE
    and SimMIM normalise the map before pooling; use `GlobalAveragePooling` with them.

    Args:
        in_channels: Channels of the last map.
        norm_eps: Epsilon of the norm (published: 1e-6, U3).
    """

    def __init__(self, in_channels: int, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=norm_eps)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return features (B, C) of the last of the maps (B, C_i, H_i, W_i)."""
        return (self.norm(maps[-1].mean(dim=(2, 3))),)
