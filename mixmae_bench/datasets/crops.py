"""Random resized crops: mmpretrain's draws and Pillow's filters, by PyTorch's vectorised resampling."""

from collections.abc import Sequence

import numpy as np
import torch
from mmpretrain.datasets.transforms import RandomResizedCrop as _RandomResizedCrop
from torch.nn.functional import interpolate

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.registry import TRANSFORMS

FILTERS = ("bilinear", "bicubic")


@TRANSFORMS.register_module()
class RandomResizedCrop(_RandomResizedCrop):
    """Crops `img` at random and resizes the crop; for mmpretrain's RandomResizedCrop with backend='pillow'.

    For the same seed the crops are mmpretrain's. The filters are Pillow's, wide enough against aliasing where
    the crop shrinks, in fixed point and with 8 bits between the two passes. Of a photo's values 1 % differ
    from Pillow's, by 1; bicubic ones seldom by up to 6, as Pillow takes tall crops in the other order.

    Changes `img`, (H, W, 3) uint8, and `img_shape`.

    Args:
        scale: Height and width of the output, or the side of a square, px.
        crop_ratio_range: Range of the crop's share of the image's area; uniform.
        aspect_ratio_range: Range of its width over its height; uniform in the logarithm.
        max_attempts: Draws until a crop fits into the image; then the largest one in the middle is taken.
        interpolation: 'bilinear' or 'bicubic'.

    Raises:
        UserError: For another interpolation.
    """

    def __init__(
        self,
        scale: int | Sequence[int],
        crop_ratio_range: tuple[float, float] = (0.08, 1.0),
        aspect_ratio_range: tuple[float, float] = (3 / 4, 4 / 3),
        max_attempts: int = 10,
        interpolation: str = "bilinear",
    ) -> None:
        if interpolation not in FILTERS:
            near = did_you_mean(interpolation, FILTERS)
            known = ", ".join(FILTERS)
            raise UserError(f"RandomResizedCrop: no interpolation '{interpolation}'; known: {known}.{near}")
        super().__init__(scale, crop_ratio_range, aspect_ratio_range, max_attempts, interpolation)

    def transform(self, results: dict) -> dict:
        """Crop and resize the image."""
        image = results["img"]
        top, left, height, width = self.rand_crop_params(image)
        # A copy, as PyTorch takes no negative strides, which a turn from RGB to BGR leaves.
        crop = np.array(image[top : top + height, left : left + width], order="C")
        pixels = torch.from_numpy(crop)[None].permute(0, 3, 1, 2)  # (1, 3, h, w), channels last in memory
        resized = interpolate(pixels, tuple(self.scale), mode=self.interpolation, antialias=True)
        results["img"] = resized[0].permute(1, 2, 0).numpy()
        results["img_shape"] = results["img"].shape
        return results
