"""Pixels of cells as prediction targets, and back."""

from torch import Tensor

EPS = 1e-6
"""Inside the root of the deviation, as in the official codes of MixMAE and UM-MAE."""


def to_cells(images: Tensor, cell: int) -> Tensor:
    """Cut images (B, C, H, W) into cells (B, H/cell * W/cell, cell*cell*C), flattened as (row, column, C)."""
    B, C, H, W = images.shape
    cells = images.view(B, C, H // cell, cell, W // cell, cell)
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, cell * cell * C)


def from_cells(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """Put cells (B, h*w, cell*cell*3), with `grid` (h, w), together again as images (B, 3, H, W)."""
    B, _, values = cells.shape
    (h, w), cell = grid, round((values / 3) ** 0.5)
    return cells.view(B, h, w, cell, cell, 3).permute(0, 5, 1, 3, 2, 4).reshape(B, 3, h * cell, w * cell)


def normalise_cells(cells: Tensor) -> Tensor:
    """Normalise every cell of (B, L, D) by its own mean and unbiased variance, eps 1e-6 inside the root."""
    mean, deviation = _statistics(cells)
    return (cells - mean) / deviation


def restore_cells(normalised: Tensor, cells: Tensor) -> Tensor:
    """Undo `normalise_cells` in a prediction (B, L, D), by the statistics of the true cells (B, L, D)."""
    mean, deviation = _statistics(cells)
    return normalised * deviation + mean


def _statistics(cells: Tensor) -> tuple[Tensor, Tensor]:
    return cells.mean(dim=-1, keepdim=True), (cells.var(dim=-1, keepdim=True) + EPS).sqrt()
