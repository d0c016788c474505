"""Sin-cos position tables and the resizing of tables learnt at another size."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sincos_table(dim: int, size: tuple[int, int]) -> Tensor:
    """Return the position table (1, H*W, dim) of a grid (H, W), row-major.

    The first half of the channels encodes the column, the second the row; in each half sines come
    before cosines (MixMIM util/pos_embed.py at 2b2f5a9: "w goes first", M6).

    Raises:
        ValueError: Where `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"a sin-cos table needs a dim divisible by 4, not {dim}")
    omega = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    rows, cols = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    angles = [place.flatten()[:, None] * omega for place in (cols, rows)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1)[None].float()


def resize_grid(table: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Resize a table (H*W, C) on a grid `size` (H, W) to `new_size`, bicubic without aligned corners (M9)."""
    grid = table.float().view(1, *size, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new_size, mode="bicubic", align_corners=False)
    return grid.permute(0, 2, 3, 1).flatten(0, 2).to(table.dtype)


def resize_square_table(table: Tensor, rows: int) -> Tensor:
    """Resize a table (side * side, C) of a square grid to `rows` rows.

    Raises:
        ValueError: Where either number of rows is not a square.
    """
    side, new_side = round(len(table) ** 0.5), round(rows**0.5)
    if side**2 != len(table) or new_side**2 != rows:
        raise ValueError(f"cannot resize a table of {len(table)} rows to {rows}: not square grids")
    return resize_grid(table, (side, side), (new_side, new_side))
