"""Segmentation with as little as possible on top of a backbone: one linear layer, trained alone or with it.

A decoder with convolutions learns to segment by itself; a linear one shows what the features contain, as in
DINOv2 (arXiv 2304.07193, section 7.4).
"""

import torch.nn.functional as F
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mixmae_bench.registry import MODELS


@MODELS.register_module()
class FrozenSegmentor(EncoderDecoder):
    """mmseg's EncoderDecoder with a frozen backbone, which is always in evaluation mode."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenSegmentor":
        super().train(mode)
        self.backbone.eval()
        return self


@MODELS.register_module()
class LinearHead(BaseDecodeHead):
    """Batch norm without affine parameters and one linear layer on the features of several stages.

    Equal to one linear layer on the concatenation of all stages, upsampled to the first one: interpolation
    and linear layers commute, so the logits of the stages are upsampled and summed instead. This takes a
    fraction of the memory.

    Args:
        in_channels: Channels of the stages of `in_index`, or None for those of the backbone.
        in_index: Stages, from the highest resolution on.
        num_classes: Classes.
        **kwargs: As for mmseg's BaseDecodeHead, such as `loss_decode` and `ignore_index`.
    """

    def __init__(
        self, in_channels: list[int], in_index: list[int], num_classes: int, **kwargs: object
    ) -> None:
        super().__init__(
            in_channels,
            channels=1,  # of mmseg's own layer, which is replaced
            num_classes=num_classes,
            in_index=in_index,
            input_transform="multiple_select",
            dropout_ratio=0,
            **kwargs,
        )
        del self.conv_seg
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels in in_channels)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, self.out_channels, 1, bias=not number)
            for number, channels in enumerate(in_channels)
        )
        self.init_cfg = dict(type="Normal", std=0.01, layer="Conv2d")

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return logits (B, classes, H, W) at the resolution of the first stage."""
        maps = self._transform_inputs(inputs)
        parts = [layer(norm(map_)) for map_, norm, layer in zip(maps, self.norms, self.layers, strict=True)]
        first, *rest = parts
        size = first.shape[2:]
        upsampled = (F.interpolate(p, size, mode="bilinear", align_corners=self.align_corners) for p in rest)
        return sum(upsampled, first)
