"""Window attention with a relative position bias, for square, clamped, shifted and padded windows.

Tokens are kept as maps (B, H, W, C). Who may attend to whom is said by one integer map of groups
(H, W) shared by the batch: tokens see each other when they share a window and a group. The two
images of a mixture are two groups; the padding of a map that windows do not divide is a third. Shifted
windows that hold pieces of the map that are not neighbours are told apart in the same way.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING = -1
"""Group of tokens that fill up a window; no group of a caller may have this number."""


class Windows:
    """How a map is cut into windows.

    A map smaller than the window is one window (the official clamp, M1 and S1); a map that windows do
    not divide is padded at the bottom and right; shifted windows begin half a window further along the
    axes that have more than one (S1).

    Args:
        size: The map's (H, W).
        window_size: Side of a window in tokens.
        shifted: Whether windows are shifted.
    """

    def __init__(self, size: tuple[int, int], window_size: int, shifted: bool = False) -> None:
        self.size = size
        self.window = tuple(min(window_size, n) for n in size)
        self.pad = tuple(-n % w for n, w in zip(size, self.window, strict=True))
        self.padded = tuple(n + p for n, p in zip(size, self.pad, strict=True))
        self.shift = tuple(
            window_size // 2 if shifted and n > w else 0
            for n, w in zip(self.padded, self.window, strict=True)
        )

    def cut(self, maps: Tensor) -> Tensor:
        """Cut maps (B, H, W, C) into windows (B, n, h*w, C), both in row-major order."""
        if any(self.pad):
            maps = F.pad(maps, (0, 0, 0, self.pad[1], 0, self.pad[0]))
        if any(self.shift):
            maps = maps.roll((-self.shift[0], -self.shift[1]), (1, 2))
        return _partition(maps, self.window)

    def join(self, windows: Tensor) -> Tensor:
        """Put windows (B, n, h*w, C) back into maps (B, H, W, C), without the padding."""
        B, C = len(windows), windows.shape[-1]
        (h, w), (H, W) = self.window, self.padded
        maps = windows.view(B, H // h, W // w, h, w, C).transpose(2, 3).reshape(B, H, W, C)
        if any(self.shift):
            maps = maps.roll(self.shift, (1, 2))
        return maps[:, : self.size[0], : self.size[1]].contiguous() if any(self.pad) else maps

    def apart(self, groups: Tensor | None, device: torch.device) -> Tensor | None:
        """Tell which pairs may not see each other: bool (n, h*w, h*w), or None where all may.

        Args:
            groups: Integer map (H, W), or None for one group.
            device: Where to build the answer.
        """
        if groups is None and not any(self.pad) and not any(self.shift):
            return None
        if groups is None:
            groups = torch.zeros(self.size, dtype=torch.int64, device=device)
        # One number for the pair of group and region; the regions of shifted windows are 0..8.
        ids = F.pad(groups * 9, (0, self.pad[1], 0, self.pad[0]), value=PADDING)
        ids = ids.roll((-self.shift[0], -self.shift[1]), (0, 1))
        ids = torch.where(ids == PADDING, PADDING, ids + self._regions(device))
        ids = _partition(ids[None, :, :, None], self.window)[0, :, :, 0]
        return ids[:, :, None] != ids[:, None, :]

    def _regions(self, device: torch.device) -> Tensor:
        """Number the pieces (H, W) of the rolled map that were neighbours before: what wrapped, and not."""
        rows, cols = (
            (torch.arange(n, device=device) >= n - w).long()
            + (torch.arange(n, device=device) >= n - s).long()
            if s
            else torch.zeros(n, dtype=torch.int64, device=device)
            for n, w, s in zip(self.padded, self.window, self.shift, strict=True)
        )
        return rows[:, None] * 3 + cols


def _partition(maps: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut maps (B, H, W, C), multiples of the window, into (B, n, h*w, C)."""
    B, H, W, C = maps.shape
    h, w = window
    return maps.view(B, H // h, h, W // w, w, C).transpose(2, 3).reshape(B, -1, h * w, C)


@lru_cache(maxsize=64)
def key_minus_query(window: tuple[int, int], device: torch.device) -> Tensor:
    """Offsets (row, column) of every key from every query of a window: (h*w, h*w, 2), int64."""
    with torch.inference_mode(False):  # what is cached must serve training too
        rows, cols = torch.meshgrid(torch.arange(window[0]), torch.arange(window[1]), indexing="ij")
        place = torch.stack([rows.flatten(), cols.flatten()], dim=-1)
        return (place[None, :] - place[:, None]).to(device)


@lru_cache(maxsize=64)
def relative_position_index(window: tuple[int, int], table_window: int, device: torch.device) -> Tensor:
    """Rows of the bias table for every (query, key) of a window: (h*w, h*w), int64.

    The table covers offsets of up to `table_window - 1` each way, row = (dy + T-1) * (2T-1) + (dx + T-1)
    with (dy, dx) = query minus key and T = `table_window` (M4). A smaller window uses the table's middle.
    """
    with torch.inference_mode(False):
        dy, dx = (table_window - 1 - key_minus_query(window, device)).unbind(-1)
        return dy * (2 * table_window - 1) + dx


def attend(qkv: Tensor, num_heads: int, bias: Tensor, apart: Tensor | None) -> Tensor:
    """Scaled dot-product attention inside windows.

    Args:
        qkv: Queries, keys and values (B, n, N, 3*C), read as (3, heads, C / heads).
        num_heads: Heads.
        bias: Added to the logits, (1 or B, 1 or n, heads, N, N).
        apart: Pairs that do not see each other, bool (n, N, N), or None.

    Returns:
        (B, n, N, C).
    """
    B, n, N, _ = qkv.shape
    q, k, v = qkv.view(B, n, N, 3, num_heads, -1).unbind(3)
    # Windows and heads share an axis, so that one bias of batch 1 serves all images.
    q, k, v = (t.transpose(2, 3).flatten(1, 2) for t in (q, k, v))
    if apart is not None:
        bias = bias.masked_fill(apart[None, :, None], float("-inf"))
    bias = bias.expand(-1, n, -1, -1, -1).flatten(1, 2)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    return out.view(B, n, num_heads, N, -1).transpose(2, 3).reshape(B, n, N, -1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learnt table of relative position biases.

    Args:
        dim: Channels.
        num_heads: Heads.
        window_size: Side of a window in tokens, for which the table is made.
        shifted: Whether windows are shifted.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int, shifted: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.shifted = shifted
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, tokens: Tensor, groups: Tensor | None = None) -> Tensor:
        """Attend inside windows and groups: tokens (B, H, W, C), groups (H, W) or None, to (B, H, W, C)."""
        windows = Windows(tuple(tokens.shape[1:3]), self.window_size, self.shifted)
        table = self.relative_position_bias_table
        bias = table[relative_position_index(windows.window, self.window_size, table.device)].permute(2, 0, 1)
        apart = windows.apart(groups, tokens.device)
        out = attend(self.qkv(windows.cut(tokens)), self.num_heads, bias[None, None], apart)
        return windows.join(self.proj(out))
