"""Dense windows of visible tokens: group window attention (arXiv 2205.13515).

A mask leaves windows with different numbers of tokens. Several of them share a group of slots, and tokens of
different windows have different segment IDs. The number of groups and of slots depends on the mask, which is
shared by the batch: this is the exception to the shapes of `dense_windows`, which depend on sizes only. The
groups are chosen on the CPU.
"""

import torch
from torch import Tensor

from mixmae_bench.backbones.layers.dense_bias import SharedLookup, inverse
from mixmae_bench.backbones.layers.dense_windows import DenseWindows, aligned, order_of
from mixmae_bench.backbones.layers.grouping import group_windows
from mixmae_bench.backbones.layers.token_coords import TokenCoords
from mixmae_bench.backbones.layers.window_kernel import MAX_SLOTS


@torch.compiler.disable  # depends on values; every new mask would cause a recompilation
def grouped_windows(
    visible: TokenCoords, window_size: int, shifted: bool, device: torch.device, fused: bool
) -> DenseWindows:
    """Return groups of the windows of visible tokens.

    Args:
        visible: The tokens.
        window_size: Side of a window in tokens; the bias table is made for it.
        shifted: Whether windows are shifted.
        device: Device of the tokens.
        fused: Whether the fused kernel is used.
    """
    windows = visible.windows(window_size, shifted).flatten().unique(return_inverse=True)[1]
    counts = windows.bincount().tolist()
    tokens_of = windows.argsort(stable=True).split(counts)
    slots, groups = group_windows(counts, MAX_SLOTS if fused else None)
    index = torch.full((len(groups), slots), -1)
    for row, group in zip(index, groups, strict=True):
        tokens = torch.cat([tokens_of[window] for window in group])
        row[: len(tokens)] = tokens

    missing = index < 0
    tokens = index.clamp(min=0)
    ids = windows[tokens].masked_fill(missing, -1)
    coords = visible.coords.flatten(0, 1)[tokens]
    different = ids[:, :, None] != ids[:, None]
    return DenseWindows(
        index.int().to(device),
        ids.int().to(device),
        coords[None].int().contiguous().to(device),
        2 * window_size - 1,
        1,
        order_of(tokens.T, missing.T, device),
        False,
        None if fused else different[:, None, :, aligned(slots)].to(device),
        None if fused else _lookup(coords, different | missing[:, None], 2 * window_size - 1, device),
        fused,
    )


def _lookup(coords: Tensor, unused: Tensor, side: int, device: torch.device) -> SharedLookup:
    """Return the rows of a table for slots with coordinates (k, n, 2).

    The bias of queries and keys in `unused`, bool (k, n, n), has no gradient.
    """
    codes = coords[..., 0] * side + coords[..., 1]
    rows = codes[:, :, None] - codes[:, None] + (side**2 - 1) // 2
    positions = inverse(rows.masked_fill(unused, -1).flatten(), side**2)
    rows = rows.masked_fill(unused, 0)[..., aligned(len(codes[0]))]
    return SharedLookup(rows.to(device), positions.to(device))
