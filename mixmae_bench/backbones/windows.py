"""Window attention with a relative position bias, for square, clamped and padded windows.

Tokens are kept as maps (B, H, W, C). Who may attend to whom is said by one integer map of groups
(H, W) shared by the batch: tokens see each other when they share a window and a group. The two
images of a mixture are two groups; the padding of a map that windows do not divide is a third.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING = -1
"""Group of tokens that fill up a window; no group of a caller may have this number."""


def partition(tokens: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut maps (B, H, W, C) into windows (B, H/h * W/w, h*w, C), both in row-major order."""
    B, H, W, C = tokens.shape
    h, w = window
    tokens = tokens.view(B, H // h, h, W // w, w, C).transpose(2, 3)
    return tokens.reshape(B, (H // h) * (W // w), h * w, C)


def unpartition(windows: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Put windows (B, H/h * W/w, h*w, C) back into maps (B, H, W, C) of `size` (H, W)."""
    B, _, _, C = windows.shape
    (h, w), (H, W) = window, size
    windows = windows.view(B, H // h, W // w, h, w, C).transpose(2, 3)
    return windows.reshape(B, H, W, C)


@lru_cache(maxsize=64)
def relative_position_index(window: tuple[int, int], table_window: int, device: torch.device) -> Tensor:
    """Rows of the bias table for every (query, key) of a window: (h*w, h*w), int64.

    The table covers offsets of up to `table_window - 1` each way, row = (dy + T-1) * (2T-1) + (dx + T-1)
    with (dy, dx) = query minus key and T = `table_window`. A window smaller than the table uses its middle.
    """
    rows, cols = torch.meshgrid(torch.arange(window[0]), torch.arange(window[1]), indexing="ij")
    place = torch.stack([rows.flatten(), cols.flatten()])
    dy, dx = place[:, :, None] - place[:, None, :] + table_window - 1
    return (dy * (2 * table_window - 1) + dx).to(device)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows of at most `window_size` x `window_size` tokens.

    A map smaller than the window is one window (the official clamp, M1); a map that windows do not
    divide is padded at the bottom and right, and nothing attends to the padding.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, tokens: Tensor, groups: Tensor | None = None) -> Tensor:
        """Attend inside windows and groups: tokens (B, H, W, C), groups (H, W) or None, to (B, H, W, C)."""
        B, H, W, _ = tokens.shape
        window = (min(self.window_size, H), min(self.window_size, W))
        pad = (-W % window[1], -H % window[0])
        if any(pad):
            if groups is None:
                groups = torch.zeros(H, W, dtype=torch.int64, device=tokens.device)
            tokens = F.pad(tokens, (0, 0, 0, pad[0], 0, pad[1]))
            groups = F.pad(groups, (0, pad[0], 0, pad[1]), value=PADDING)
        size = tokens.shape[1:3]

        windows = partition(tokens, window)
        num_windows, length = windows.shape[1:3]
        q, k, v = self.qkv(windows).view(B, num_windows, length, 3, self.num_heads, -1).unbind(3)
        # Windows and heads share an axis, so that one (1, windows * heads, N, N) bias serves the batch.
        q, k, v = (t.transpose(2, 3).flatten(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=self.bias(window, groups, num_windows).to(q.dtype)
        )
        out = out.view(B, num_windows, self.num_heads, length, -1).transpose(2, 3).reshape(windows.shape)

        return unpartition(self.proj(out), window, size)[:, :H, :W].contiguous()

    def bias(self, window: tuple[int, int], groups: Tensor | None, num_windows: int) -> Tensor:
        """Position bias, -inf between groups: (1, num_windows * num_heads, h*w, h*w)."""
        table = self.relative_position_bias_table
        index = relative_position_index(window, self.window_size, table.device)
        bias = table[index].permute(2, 0, 1)
        if groups is None:
            return bias.repeat(num_windows, 1, 1)[None]
        groups = partition(groups[None, :, :, None], window).view(num_windows, 1, -1)
        apart = groups[..., :, None] != groups[..., None, :]
        return bias.masked_fill(apart, float("-inf")).flatten(0, 1)[None]
