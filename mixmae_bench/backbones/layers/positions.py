"""Sin-cos position tables, and resizing of position and bias tables."""

import numpy as np
import torch
from scipy.interpolate import RectBivariateSpline
from timm.layers import resample_abs_pos_embed
from torch import Tensor


def sincos_table(dim: int, size: tuple[int, int]) -> Tensor:
    """Return the position table (1, H*W, dim) of a grid (H, W), row-major.

    The first half of the channels encodes the column, the second half the row. In each half, sines come
    before cosines (MixMIM util/pos_embed.py at 2b2f5a9: "w goes first", M6).

    Raises:
        ValueError: If `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"a sin-cos table needs a dim divisible by 4, not {dim}")
    omega = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    rows, cols = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    angles = [place.flatten()[:, None] * omega for place in (cols, rows)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)[None].float()


def is_sincos(table: Tensor) -> bool:
    """Return whether a position table (1, L, C) is sin-cos, possibly resized: sin^2 + cos^2 is close to 1."""
    if table.shape[-1] % 4:
        return False
    sines, cosines = table.float().unflatten(-1, (2, 2, -1)).unbind(-2)
    return bool((sines**2 + cosines**2 - 1).abs().max() < 0.2)


def resize_grid(table: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Resize a table (H*W, C) from `size` (H, W) to `new_size`: bicubic, align_corners=False (M9)."""
    return resample_abs_pos_embed(table[None], new_size, size, num_prefix_tokens=0, antialias=False)[0]


def table_positions(
    table: Tensor,
    grid: tuple[int, int],
    size: tuple[int, int],
    coords: Tensor | None,
) -> Tensor:
    """Return the position embeddings of a map.

    Args:
        table: Position table (1, h*w, C).
        grid: Grid (h, w) that the table is made for.
        size: Size (H, W) of the map; the table is resized if it differs from `grid`.
        coords: Original coordinates of packed tokens, (row, column) in tokens of the whole image,
            (B, H, W, 2), or None for a map of the whole image.

    Returns:
        (1 or B, H, W, C).
    """
    if coords is not None:
        index = coords[..., 0] * grid[1] + coords[..., 1]
        return table[0][index]
    if size != grid:
        table = resize_grid(table[0], grid, size)
    return table.view(1, *size, -1)


def resize_square_table(table: Tensor, rows: int) -> Tensor:
    """Resize a table (side * side, C) of a square grid to `rows` rows.

    Raises:
        ValueError: If either number of rows is not a square.
    """
    side, new_side = round(len(table) ** 0.5), round(rows**0.5)
    if side**2 != len(table) or new_side**2 != rows:
        raise ValueError(f"cannot resize a table of {len(table)} rows to {rows}: not square grids")
    return resize_grid(table, (side, side), (new_side, new_side))


def resize_geometric(table: Tensor, rows: int) -> Tensor:
    """Resize a bias table ((2W-1)^2, heads) as SimMIM's utils.py does (S4).

    The old offsets are spread over the new range with steps that grow by a constant factor, finest
    around zero, and a cubic spline is read off at the new integer offsets. (The official code uses
    scipy's interp2d, removed in SciPy 1.14; RectBivariateSpline gives the same numbers.)

    Raises:
        ValueError: If either number of rows is not the square of an odd number.
    """
    side, new_side = round(len(table) ** 0.5), round(rows**0.5)
    if side**2 != len(table) or new_side**2 != rows or side % 2 == 0 or new_side % 2 == 0:
        raise ValueError(
            f"cannot resize a bias table of {len(table)} rows to {rows}: not squares of odd numbers"
        )
    half, new_half = side // 2, new_side // 2
    low, high = 1.01, 1.5  # the official bounds and precision of the factor
    while high - low > 1e-6:
        factor = (low + high) / 2
        reach = sum(factor**i for i in range(half))
        low, high = (low, factor) if reach > new_half else (factor, high)
    steps = np.cumsum([factor**i for i in range(half)])
    old = np.concatenate([-steps[::-1], [0], steps])
    new = np.arange(-new_half, new_half + 1)
    heads = table.double().numpy(force=True).reshape(side, side, -1)
    resized = [RectBivariateSpline(old, old, heads[..., i])(new, new) for i in range(heads.shape[-1])]
    return torch.from_numpy(np.stack(resized, axis=-1)).view(rows, -1).to(table)
