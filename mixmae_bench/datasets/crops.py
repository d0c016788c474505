"""Random resized crops by PyTorch's vectorised resampling: mmpretrain's random crops, Pillow's filters."""

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
    """Crop `img` at random and resize the crop; replaces mmpretrain's RandomResizedCrop(backend='pillow').

    The same seed gives the same crops as mmpretrain. The filters are Pillow's: antialiased, in fixed point,
    rounded to 8 bits between the two passes. About 1 % of a photo's values differ from Pillow's, by 1; with
    bicubic, a few differ by up to 6, as Pillow resizes tall crops in the other order of passes.

    Changes `img`, (H, W, 3) uint8, and `img_shape`.

    Args:
        scale: Height and width of the output, or the side of a square, px.
        crop_ratio_range: Range of the crop's area as a fraction of the image's; uniform.
        aspect_ratio_range: Range of the crop's width / height; uniform in the logarithm.
        max_attempts: Number of random crops to try; if none fits, the largest centre crop is taken.
        interpolation: 'bilinear' or 'bicubic'.

    Raises:
        UserError: If the interpolation is unknown.
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
        # A copy: PyTorch does not support the negative strides that RGB/BGR conversion leaves.
        crop = np.array(image[top : top + height, left : left + width], order="C")
        pixels = torch.from_numpy(crop)[None].permute(0, 3, 1, 2)  # (1, 3, h, w), channels last in memory
        resized = interpolate(pixels, tuple(self.scale), mode=self.interpolation, antialias=True)
        results["img"] = resized[0].permute(1, 2, 0).numpy()
        results["img_shape"] = results["img"].shape
        return results
