"""Simple feature pyramid of ViTDet (arXiv 2203.16527, section 3): maps of strides 4 to 32 from one map."""

from timm.layers import LayerNorm2d
from torch import Tensor, nn

STRIDE = 16
"""Stride of the map that the pyramid is made of."""

STRIDES = (4, 8, 16, 32)
"""Strides of the maps of the pyramid."""


class SimplePyramid(nn.Module):
    """Deconvolutions and a max pooling of one map, without ViTDet's output convolutions, which necks have.

    Args:
        channels: Channels C of the map of stride 16, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.out_channels = [quarter, half, channels, channels]
        self.scales = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(channels, half, 2, stride=2),
                    LayerNorm2d(half),
                    nn.GELU(),
                    nn.ConvTranspose2d(half, quarter, 2, stride=2),
                ),
                nn.ConvTranspose2d(channels, half, 2, stride=2),
                nn.Identity(),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        )

    def forward(self, x: Tensor, indices: tuple[int, ...]) -> list[Tensor]:
        """Return the maps at `indices` of strides 4, 8, 16, 32 from a map (B, C, h, w) of stride 16."""
        return [self.scales[i](x) for i in indices]
