"""What conversions compute: the order of patch merging, official buffers, and sizes told from shapes."""

import math

import torch
from torch import Tensor

from mixmae_bench.backbones.windows import partition, relative_position_index

CPU = torch.device("cpu")


def refold(tensor: Tensor) -> Tensor:
    """Reorder the inputs of patch merging (..., 4*C) from mmcv's order to timm's (M3).

    mmcv unfolds: channel c of the neighbours (row, column) in the order (0,0), (0,1), (1,0), (1,1) lies at
    4*c ... 4*c+3. timm concatenates the neighbours (0,0), (1,0), (0,1), (1,1), all channels of each.
    """
    neighbours = tensor.unflatten(-1, (-1, 2, 2))
    return neighbours.permute(*range(tensor.ndim - 1), -1, -2, -3).flatten(-3)


def bias_index(table: Tensor) -> Tensor:
    """Return the official `relative_position_index` of a bias table ((2W-1)^2, heads): int64 (W*W, W*W)."""
    window = window_of(table)
    (bunch,) = partition((window, window), window, False, None, CPU).bunches
    return relative_position_index(bunch.offsets[0], window)


def shift_mask(size: tuple[int, int], window: int) -> Tensor:
    """Return the official `attn_mask` of shifted windows on a map that they divide (S1): (windows, n, n)."""
    segments = partition(size, window, True, None, CPU).segments
    rolled = segments.roll((-(window // 2), -(window // 2)), (0, 1))
    windows = rolled.unfold(0, window, window).unfold(1, window, window).reshape(-1, window**2)
    return (windows[:, :, None] != windows[:, None]) * -100.0


def window_of(table: Tensor) -> int:
    """Return the window that a bias table ((2W-1)^2, heads) is made for."""
    return (math.isqrt(len(table)) + 1) // 2
