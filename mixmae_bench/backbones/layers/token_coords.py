"""Coordinates of the tokens of a map, and the windows that contain them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TokenCoords:
    """Tokens with their coordinates in a whole map, which may contain further tokens.

    A map smaller than the window is one window (as clamped in the official code, M1 and S1). Windows are
    shifted by half a window along axes with more than one window (S1). The first and last windows are then
    smaller.

    Attributes:
        coords: (row, column) of every token, int64 (H, W, 2), on the CPU.
        size: Rows and columns of the whole map.
    """

    coords: Tensor
    size: tuple[int, int]

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "TokenCoords":
        """Return all tokens of a map."""
        rows, cols = torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij")
        return cls(torch.stack([rows, cols], dim=-1), size)

    def merged(self) -> "TokenCoords":
        """Return the tokens after patch merging. Every 2x2 block must be one of the whole map as well."""
        rows, cols = self.size
        return TokenCoords(self.coords[::2, ::2] // 2, (-(-rows // 2), -(-cols // 2)))

    def windows(self, window_size: int, shifted: bool) -> Tensor:
        """Return the index of the window of every token, int64 (H, W).

        Args:
            window_size: Side of a window in tokens.
            shifted: Whether windows are shifted.
        """
        rows, cols = (_window_of(n, window_size, shifted) for n in self.size)
        row, col = self.coords.unbind(-1)
        return rows[row] * (cols[-1] + 1) + cols[col]


def _window_of(n: int, window_size: int, shifted: bool) -> Tensor:
    """Return the index of the window of every token along an axis: int64 (n,)."""
    if n <= window_size:
        return torch.zeros(n, dtype=torch.int64)
    shift = window_size // 2 if shifted else 0
    numbers = (torch.arange(n) - shift).div(window_size, rounding_mode="floor")
    return numbers - numbers[0]
