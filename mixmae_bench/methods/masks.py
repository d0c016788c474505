"""Random masks, identical to those of the official data pipelines for the same numpy seed."""

import math

import numpy as np
import torch
from torch import Tensor

from mixmae_bench.errors import UserError


def whole_patches(patches: int, share: float) -> int:
    """Return a share of a number of patches, rounded down.

    Raises:
        UserError: If the result is 0: no patch would be masked, or no patch would be visible.
    """
    count = int(patches * share)
    if not count:
        raise UserError(
            f"{share:.3g} of {patches} patches is less than one patch; choose another ratio or larger images"
        )
    return count


def random_mask(h: int, w: int, ratio: float) -> np.ndarray:
    """Draw a mask (h, w) of 0 and 1 (masked): ceil(h*w * ratio) random patches (S5).

    As in SimMIM's MaskGenerator (data/data_simmim.py at d3e29bc), with numpy's legacy generator.
    """
    mask = np.zeros(h * w, dtype=np.int64)
    mask[np.random.permutation(h * w)[: math.ceil(h * w * ratio)]] = 1
    return mask.reshape(h, w)


def shuffled_mask(h: int, w: int, ratio: float) -> np.ndarray:
    """Draw a mask (h, w) of bools: int(h*w * ratio) random patches.

    As the irregular masks of UM-MAE's mask_transform.py.
    """
    count = whole_patches(h * w, ratio)
    mask = np.repeat([False, True], [h * w - count, count])
    np.random.shuffle(mask)
    return mask.reshape(h, w)


def regular_masks(count: int, h: int, w: int) -> np.ndarray:
    """Draw masks (count, h, w) of bools, True = removed, that keep one patch of every 2x2 block (U7).

    The positions inside the blocks are drawn from a shuffled pool with equal counts of all four, so they are
    nearly balanced and not independent. As in UM-MAE's mask_transform.py at cb7776b, with numpy's legacy
    generator.

    Raises:
        UserError: If `h` or `w` is odd.
    """
    if h % 2 or w % 2:
        raise UserError(f"UM-MAE needs an even grid of patches, not {h}x{w}; choose another image size")
    # Numbers of the kept patches. The official code shuffles rows of masks, which takes many times as long.
    pools = np.tile(np.arange(4), (count, math.ceil(h * w / 8)))
    for pool in pools:
        np.random.shuffle(pool)
    blocks = ~np.eye(4, dtype=bool)[pools[:, : h * w // 4]].reshape(count, h // 2, w // 2, 2, 2)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(count, h, w)


def secondary_mask(removed: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """Return a mask (B, L) that is False for the patches that remain visible after secondary masking.

    The int(visible * (1 - ratio)) visible patches with the lowest noise remain visible.

    Args:
        removed: Patches that are not encoded, bool (B, L), with the same count for every image.
        noise: Uniform random numbers in [0, 1), (B, L).
        ratio: Share of visible patches to replace.
    """
    kept = whole_patches(int((~removed[0]).sum()), 1 - ratio)  # int: with a tensor, the product is float32
    lowest = (removed + noise).argsort(1)[:, :kept]
    return torch.ones_like(removed).scatter(1, lowest, False)


def secondary_mask_vit(noise: Tensor, ratio: float) -> Tensor:
    """Return which visible tokens UM-MAE's ViT version replaces: bool (B, visible) (U11).

    Args:
        noise: Uniform random numbers, one per visible token in row-major order, (B, visible).
        ratio: Share of visible tokens to replace.
    """
    return noise.argsort(1) >= whole_patches(noise.shape[1], 1 - ratio)


def moved(mask: Tensor, device: torch.device) -> Tensor:
    """Copy a mask from the CPU, where all masks are drawn, to a device. The host does not wait for GPUs."""
    return mask.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else mask.to(device)


def enlarge(patches: Tensor, scale: int) -> Tensor:
    """Repeat the entries of maps (B, h, w) `scale` times along both axes."""
    return patches.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
