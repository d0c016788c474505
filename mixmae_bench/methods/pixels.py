"""Pixels of cells as prediction targets."""

from torch import Tensor


def to_cells(images: Tensor, cell: int) -> Tensor:
    """Cut images (B, C, H, W) into cells (B, H/cell * W/cell, cell*cell*C), flattened as (row, column, C)."""
    B, C, H, W = images.shape
    cells = images.view(B, C, H // cell, cell, W // cell, cell)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, cell * cell * C)


def normalise_cells(cells: Tensor) -> Tensor:
    """Normalise every cell of (B, L, D) by its own mean and unbiased variance, eps 1e-6 inside the root."""
    mean = cells.mean(dim=-1, keepdim=True)
    var = cells.var(dim=-1, keepdim=True)
    return (cells - mean) / (var + 1e-6).sqrt()
