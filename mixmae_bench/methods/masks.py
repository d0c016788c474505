"""Random masks, bit for bit those of the official data pipelines for the same numpy seed."""

import math

import numpy as np
from torch import Tensor

from mixmae_bench.errors import UserError


def whole_patches(patches: int, share: float) -> int:
    """Return a share of a number of patches, rounded down.

    Raises:
        UserError: Where that is no patch: nothing would be hidden, or nothing shown.
    """
    count = int(patches * share)
    if not count:
        raise UserError(
            f"{share:.3g} of {patches} patches is less than one patch; choose another ratio or larger images"
        )
    return count


def random_mask(h: int, w: int, ratio: float) -> np.ndarray:
    """Draw a mask (h, w) of 0 and 1 (masked): ceil(h*w * ratio) random patches (S5).

    As SimMIM's MaskGenerator (data/data_simmim.py at d3e29bc), from numpy's legacy generator.
    """
    mask = np.zeros(h * w, dtype=np.int64)
    mask[np.random.permutation(h * w)[: math.ceil(h * w * ratio)]] = 1
    return mask.reshape(h, w)


def shuffled_mask(h: int, w: int, ratio: float) -> np.ndarray:
    """Draw a mask (h, w) of bools: int(h*w * ratio) random patches.

    As UM-MAE's mask_transform.py, irregular.
    """
    count = whole_patches(h * w, ratio)
    mask = np.repeat([False, True], [h * w - count, count])
    np.random.shuffle(mask)
    return mask.reshape(h, w)


def regular_mask(h: int, w: int) -> np.ndarray:
    """Draw a mask (h, w) of bools, True = removed, that keeps one patch of every 2x2 block (U7).

    The places come from a shuffled pool that holds each of the four equally often, so they are nearly
    balanced, not independent. As UM-MAE's mask_transform.py at cb7776b, from numpy's legacy generator.

    Raises:
        UserError: Where a side is odd.
    """
    if h % 2 or w % 2:
        raise UserError(f"UM-MAE needs an even grid of patches, not {h}x{w}; choose another image size")
    pool = np.tile(~np.eye(4, dtype=bool), (math.ceil(h * w / 8), 1))
    np.random.shuffle(pool)
    blocks = pool[: h * w // 4].reshape(h // 2, w // 2, 2, 2)
    return blocks.transpose(0, 2, 1, 3).reshape(h, w)


def secondary_mask(removed: Tensor, noise: Tensor, ratio: float) -> Tensor:
    """Choose which patches are not really seen: bool (B, L), False for the real visible ones.

    int(visible * (1 - ratio)) visible patches, those of the lowest noise, stay real.

    Args:
        removed: Patches that are not encoded, bool (B, L), equally many per image.
        noise: Uniform numbers in [0, 1), (B, L).
        ratio: Share of visible patches to replace.
    """
    kept = whole_patches(int((~removed[0]).sum()), 1 - ratio)  # of a tensor, a product in single precision
    return (removed + noise).argsort(1).argsort(1) >= kept


def secondary_mask_vit(noise: Tensor, ratio: float) -> Tensor:
    """Choose which visible tokens are replaced in UM-MAE's ViT version: bool (B, visible) (U11).

    Args:
        noise: Uniform numbers, one per visible token in row-major order, (B, visible).
        ratio: Share of visible tokens to replace.
    """
    return noise.argsort(1) >= whole_patches(noise.shape[1], 1 - ratio)


def enlarge(patches: Tensor, scale: int) -> Tensor:
    """Repeat the patches of maps (B, h, w) `scale` times along both axes."""
    return patches.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
