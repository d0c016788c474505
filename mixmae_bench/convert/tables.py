"""What conversions compute: the order of patch merging, official buffers, and sizes told from shapes."""

import math

import torch
from torch import Tensor

from mixmae_bench.backbones.layers.windows import partition, relative_position_index

CPU = torch.device("cpu")
TABLE = "relative_position_bias_table"


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


def official_buffers(official: dict[str, Tensor], shifted: bool, img_size: int | None) -> dict[str, Tensor]:
    """Return what a strict load by the official code wants beside the parameters.

    Args:
        official: Parameters by their official names.
        shifted: Whether odd blocks shift their windows.
        img_size: Pixels per side of the images, where they do.
    """
    buffers = {}
    for name, table in official.items():
        if not name.endswith(TABLE):
            continue
        block = name.removesuffix(f".attn.{TABLE}")
        buffers[f"{block}.attn.relative_position_index"] = bias_index(table)
        if shifted and int(block.rpartition(".")[2]) % 2:
            side = img_size // _patch(official) // 2 ** _stage(name)
            if side > window_of(table):
                if side % window_of(table):
                    raise ValueError(f"a window of {window_of(table)} does not divide a grid of {side}")
                buffers[f"{block}.attn_mask"] = shift_mask((side, side), window_of(table))
    return buffers


def image_side(official: dict[str, Tensor], buffers: dict[str, Tensor]) -> int | None:
    """Return the pixels per side of the images that a checkpoint is made for, where its tensors tell.

    Args:
        official: Parameters by their official names; position tables tell.
        buffers: Tensors of which shift masks (windows, n, n) tell.
    """
    for name, table in official.items():
        if name.rpartition(".")[2] in ("absolute_pos_embed", "pos_embed"):
            return math.isqrt(table.shape[1]) * _patch(official)  # a class token makes no difference
    for name, mask in buffers.items():
        if name.endswith("attn_mask"):
            return math.isqrt(mask.shape[0] * mask.shape[1]) * _patch(official) * 2 ** _stage(name)
    return None


def is_sincos(official: dict[str, Tensor]) -> bool:
    """Tell MixMAE's frozen position table, also resized, from a learnt one: sin^2 + cos^2 is 1."""
    table = next((t for name, t in official.items() if name.endswith("absolute_pos_embed")), None)
    if table is None or table.shape[-1] % 4:
        return False
    sines, cosines = table.float().unflatten(-1, (2, 2, -1)).unbind(-2)
    return bool((sines**2 + cosines**2 - 1).abs().max() < 0.2)


def has_windows_of_swin(official: dict[str, Tensor]) -> bool:
    """Tell whether all bias tables are of one window, or of the whole grid where that is smaller (S1)."""
    table = next(table for name, table in official.items() if name.endswith("absolute_pos_embed"))
    windows = {_stage(name): window_of(t) for name, t in official.items() if name.endswith(TABLE)}
    side, largest = math.isqrt(table.shape[1]), max(windows.values())
    return all(window == min(largest, side // 2**stage) for stage, window in windows.items())


def _stage(name: str) -> int:
    return int(name.partition("layers.")[2].partition(".")[0])


def _embedding(official: dict[str, Tensor]) -> Tensor:
    return next(tensor for name, tensor in official.items() if name.endswith("patch_embed.proj.weight"))


def _patch(official: dict[str, Tensor]) -> int:
    return _embedding(official).shape[-1]
