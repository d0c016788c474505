"""Conversion between images and the pixels of patches as prediction targets."""

from torch import Tensor

EPS = 1e-6
"""Added to the variance before the square root, as in the official codes of MixMAE and UM-MAE."""


def patchify(images: Tensor, size: int) -> Tensor:
    """Split images (B, C, H, W) into patches (B, H/size * W/size, size*size*C), each as (row, column, C)."""
    B, C, H, W = images.shape
    patches = images.view(B, C, H // size, size, W // size, size)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, size * size * C)


def unpatchify(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Assemble patches (B, h*w, p*p*3) on a grid (h, w) to images (B, 3, H, W)."""
    B, _, values = patches.shape
    (h, w), size = grid, round((values / 3) ** 0.5)
    return patches.view(B, h, w, size, size, 3).permute(0, 5, 1, 3, 2, 4).reshape(B, 3, h * size, w * size)


def normalise_patches(patches: Tensor) -> Tensor:
    """Normalise every patch of (B, L, D) by its mean and unbiased variance, with eps 1e-6 in the root."""
    mean, deviation = _statistics(patches)
    return (patches - mean) / deviation


def denormalise_patches(normalised: Tensor, patches: Tensor) -> Tensor:
    """Undo `normalise_patches` in a prediction (B, L, D), with the statistics of `patches` (B, L, D)."""
    mean, deviation = _statistics(patches)
    return normalised * deviation + mean


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    return patches.mean(dim=-1, keepdim=True), (patches.var(dim=-1, keepdim=True) + EPS).sqrt()
