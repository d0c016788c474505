"""Attention biases of dense windows, looked up in a table by relative coordinates.

The gradient of a table is a gather and a sum: for every row of the table, the positions in the bias that use
it are known from the sizes. It needs no atomic additions, which are not deterministic, and no sorting, which
PyTorch's gradient of an embedding needs. Sums are in float32 at least, except that `PackedLookup` rounds its
sums over images to the format of the biases.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx


@dataclass(frozen=True, eq=False)
class SharedLookup:
    """The rows of a table for the biases of windows; all images share them.

    Attributes:
        rows: Row for every query and key, int64 (w, n, m); w is 1 if all windows have equal relative
            coordinates, else k. Columns n to m - 1 are padding (`Geometry.keys`).
        positions: Positions ((window * n + query) * n + key) of every row, int64 (rows, c); w * n * n where
            there are fewer.
    """

    rows: Tensor
    positions: Tensor

    def bias(self, table: Tensor, different: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Return biases (1 or k, heads, n, n) from a table (rows, heads).

        Args:
            table: The table.
            different: Queries and keys that do not attend to each other, bool (k, 1, n, m), or None. Their
                bias is the lowest number of `dtype`. It is finite, so no kernel computes inf - inf.
            dtype: Format of the biases.
        """
        return _SharedBias.apply(table, self.rows, self.positions, different, dtype)


@dataclass(frozen=True, eq=False)
class PackedLookup:
    """The rows of a table for the biases of windows of packed images; each image has its own.

    Relative coordinates of a query and a key depend on their slots and on which patches of their 2x2 blocks
    are visible (`corners`, 4 possibilities each). So the gradient is summed over images for 4 * 4
    possibilities, with a matrix product, and the rows of these sums are known from the sizes.

    Attributes:
        rows: Row for every query and key, int32 (B * k, n, m), m as in `SharedLookup`; the number of rows for
            those that do not attend to each other.
        corners: Visible patch of the 2x2 block of every slot as one-hot numbers, bool (x, kinds, n, 4):
            (B * k, 1, n, 4) if all windows have equal relative coordinates except for corners, else
            (B, k, n, 4).
        positions: Positions of every row in sums (kinds, query, corner, key, corner), int64 (rows, c);
            the number of positions where there are fewer than c.
    """

    rows: Tensor
    corners: Tensor
    positions: Tensor

    def bias(self, table: Tensor, dtype: torch.dtype) -> Tensor:
        """Return biases (B * k, heads, n, n) from a table (rows, heads), as `SharedLookup.bias`."""
        return _PackedBias.apply(table, self.rows, self.corners, self.positions, dtype)


def inverse(rows: Tensor, count: int) -> Tensor:
    """Return the positions of every value 0 to count - 1 in a vector, (count, c).

    Rows with fewer positions are filled with the length of the vector. Negative values are left out.
    """
    used = rows.sort(stable=True)
    values, order = used.values[used.values >= 0], used.indices[used.values >= 0]
    lengths = values.bincount(minlength=count)
    positions = rows.new_full((count, int(lengths.max())), len(rows))
    positions[values, torch.arange(len(values)) - (lengths.cumsum(0) - lengths)[values]] = order
    return positions


def _sum_rows(sums: Tensor, positions: Tensor, table: torch.dtype) -> Tensor:
    """Sum positions of (heads, P) for every row: (rows, heads)."""
    gathered = F.pad(sums, (0, 1)).index_select(1, positions.flatten())
    return gathered.view(len(sums), *positions.shape).sum(-1).T.to(table)


class _SharedBias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        table: Tensor,
        rows: Tensor,
        positions: Tensor,
        different: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(positions)
        ctx.dtype, ctx.shared = table.dtype, len(rows) == 1
        bias = table.to(dtype).T.index_select(1, rows.flatten()).view(-1, *rows.shape).transpose(0, 1)
        if different is not None:
            bias = torch.where(different, torch.finfo(dtype).min, bias)
        return bias[..., : rows.shape[1]]

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        (positions,) = ctx.saved_tensors
        dtype = torch.promote_types(grad.dtype, torch.float32)
        grad = grad.sum(0, keepdim=True, dtype=dtype) if ctx.shared else grad.to(dtype)
        return _sum_rows(grad.transpose(0, 1).flatten(1), positions, ctx.dtype), None, None, None, None


class _PackedBias(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        table: Tensor,
        rows: Tensor,
        corners: Tensor,
        positions: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.save_for_backward(corners, positions)
        ctx.dtype = table.dtype
        table = F.pad(table.to(dtype).T, (0, 1), value=torch.finfo(dtype).min)
        bias = table.index_select(1, rows.flatten()).view(-1, *rows.shape).transpose(0, 1)
        return bias[..., : rows.shape[1]]

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        corners, positions = ctx.saved_tensors
        images, kinds, n, _ = corners.shape
        heads = grad.shape[1]
        grad = grad.reshape(images, kinds, heads, n, n, 1)
        corners = corners.to(grad.dtype)
        # (kinds * query, corner, images) @ (kinds * query, images, heads * key * corner)
        of_keys = grad * corners[:, :, None, None]
        of_keys = of_keys.permute(1, 3, 0, 2, 4, 5).reshape(kinds * n, images, -1)
        sums = torch.bmm(corners.permute(1, 2, 3, 0).reshape(kinds * n, 4, images), of_keys)
        sums = sums.view(kinds * n, 4, heads, n * 4).permute(2, 0, 1, 3).reshape(heads, -1)
        sums = sums.to(torch.promote_types(sums.dtype, torch.float32))
        return _sum_rows(sums, positions, ctx.dtype), None, None, None, None
