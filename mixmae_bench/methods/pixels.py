"""Conversion between images and the pixels of patches as prediction targets, and their squared error."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

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


def squared_error(pred: Tensor, images: Tensor, size: int, normalise: bool, weights: Tensor) -> Tensor:
    """Return the mean squared error of predicted patches, as a scalar in float32, or float64 if they are.

    Targets and errors are computed for a few images at a time, and only the errors are kept for the backward
    pass, in the format of the prediction: a batch of float32 targets takes as much memory as its images.

    Args:
        pred: Predicted pixels (B, L, size*size*C).
        images: Normalised images (B, C, H, W), without gradients.
        size: Side of a patch in pixels.
        normalise: Whether the targets are normalised patches (see `normalise_patches`).
        weights: Weights of the patches in the mean, (1 or B, L): 0 and 1, or bools.
    """
    return _SquaredError.apply(pred, images, size, normalise, weights)


class _SquaredError(torch.autograd.Function):
    PARTS = 8

    @staticmethod
    def forward(
        ctx: FunctionCtx, pred: Tensor, images: Tensor, size: int, normalise: bool, weights: Tensor
    ) -> Tensor:
        exact = torch.promote_types(pred.dtype, torch.float32)
        weights = weights.to(exact).expand(pred.shape[:2])[..., None]
        count = weights.sum() * pred.shape[-1]
        kept, total = torch.empty_like(pred), weights.new_zeros(())
        parts = (tensor.chunk(_SquaredError.PARTS) for tensor in (pred, images, weights, kept))
        for own, pixels, weight, errors in zip(*parts, strict=True):
            target = patchify(pixels, size)
            error = own - (normalise_patches(target) if normalise else target)
            errors.copy_(error * weight)
            total += (error.square_() * weight).sum()
        ctx.save_for_backward(kept, count)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        errors, count = ctx.saved_tensors
        return errors * (2 * grad / count), None, None, None, None


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    return patches.mean(dim=-1, keepdim=True), (patches.var(dim=-1, keepdim=True) + EPS).sqrt()
