"""Windows with a fixed number of slots, for attention on GPUs.

Shapes depend on the sizes of map and window only. A mask enters as values: segment IDs of slots, gathered on
the device of the mask. Nothing is copied to the host, so the host never waits for the device. The exception
are windows of visible tokens (`grouped_windows`).

Along an axis, windows are those of the partition into segments (`windows.Partition`). Slots beyond the border
of the map are padding. If the first and last windows of a shifted axis fit into one window, they share one,
as the rolled windows of Swin do; the parts have different segment IDs.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

from mixmae_bench.backbones.layers.dense_bias import PackedLookup, SharedLookup, inverse

Made = TypeVar("Made")

ALIGNMENT = 8
"""Fused attention kernels of PyTorch need rows of biases that start at multiples of 16 bytes (8 values)."""


@dataclass(frozen=True, eq=False)
class DenseWindows:
    """Windows of one map, or of the packed maps of a batch; k windows of n slots.

    The first four attributes are what a fused kernel needs. The others serve the plain form.

    Attributes:
        index: Row-major index of the token of every slot, int32 (k, n); -1 for padding.
        segment_ids: Slots attend to each other only if their IDs are equal, int32 (k, n); -1 for padding.
        coords: (row, column) of every slot, int32 (1 or B, k, n, 2), in tokens / `unit`. Differences of slots
            with equal IDs are at most (side - 1) / 2; others may be larger.
        side: Relative coordinates per axis that a bias table covers. The row of a query and a key is
            (dy + (side-1) / 2) * side + dx + (side-1) / 2, with (dy, dx) = query minus key.
        unit: 2 if coordinates of tokens may be half-integers, else 1.
        order: Order in which slots are gathered.
        in_batch: Whether windows are part of the batch. Then their bias has the batch size 1 or B * k.
            Otherwise they are part of the heads, and a bias of batch size 1 contains the mask of each window.
        different: Queries and keys with different IDs, bool (k, 1, n, m), or None if all are equal; see
            `SharedLookup`.
        lookup: Rows of the bias table; None for groups (`grouped_windows`) in the fused kernel.
        fused: Whether the fused kernel is used.
    """

    index: Tensor
    segment_ids: Tensor
    coords: Tensor
    side: int
    unit: int
    order: "Order"
    in_batch: bool
    different: Tensor | None
    lookup: SharedLookup | PackedLookup | None
    fused: bool

    def bias(self, table: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the biases of a table (side * side, heads): (1, k, or B * k; heads, n, n)."""
        if isinstance(self.lookup, PackedLookup):
            return self.lookup.bias(table, dtype)
        return self.lookup.bias(table, self.different, dtype)


@dataclass(frozen=True, eq=False)
class Geometry:
    """What follows from the sizes of a map and its windows; k windows of n slots.

    Attributes:
        tokens: Row-major index of the token of every slot, int64 (k, n); 0 for padding.
        index: The same as int32; -1 for padding.
        regions: ID of the region of every slot, int32 (k, n): -1 for padding, else the part of a window that
            is shared by the first and last windows of an axis, 0 to 3.
        uniform: Whether every slot has a token, and all slots of every window have the same region.
        padding: Whether a slot is padding, bool (k, n), or None if no slot is.
        slots: (row, column) of every slot inside its window, int32 (n, 2).
        by_window, by_slot: Orders of slots for a gather, with the inverse.
        keys: Index of the slot of every column of a bias, int64 (m,), m = n rounded up to `ALIGNMENT`. Added
            columns repeat the last slot.
    """

    tokens: Tensor
    index: Tensor
    regions: Tensor
    uniform: bool
    padding: Tensor | None
    slots: Tensor
    by_window: "Order"
    by_slot: "Order"
    keys: Tensor


@dataclass(frozen=True, eq=False)
class Order:
    """An order of all slots.

    Attributes:
        tokens: Token of every slot, int64 (k * n,); 0 for padding.
        place: Position of every token in this order, int64 (L,).
        padding: Whether a slot is padding, bool (k * n, 1), or None if no slot is.
    """

    tokens: Tensor
    place: Tensor
    padding: Tensor | None


@torch.compiler.disable
@lru_cache(maxsize=64)
def geometry(size: tuple[int, int], window_size: int, shifted: bool, device: torch.device) -> Geometry:
    """Return the windows of a map (H, W). Windows are clamped and shifted as in `windows.Partition`."""
    return outside_modes(_geometry, size, window_size, shifted, device)


def outside_modes(function: Callable[..., Made], *args: object) -> Made:
    """Call a function in a new thread, outside all modes of PyTorch.

    Tensors that are kept for later passes must not be inference tensors, fake tensors of torch.export or part
    of a torch.jit.trace graph. None of these modes is active in a new thread.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args).result()


def _geometry(size: tuple[int, int], window_size: int, shifted: bool, device: torch.device) -> Geometry:
    (rows, row_parts), (cols, col_parts) = (axis_windows(n, window_size, shifted) for n in size)
    (down, high), (along, wide) = rows.shape, cols.shape

    def combine(of_rows: Tensor, of_cols: Tensor, factor: int) -> Tensor:
        grid = of_rows[:, None, :, None] * factor + of_cols[None, :, None, :]
        return grid.reshape(down * along, high * wide)

    missing = combine((rows < 0).long(), (cols < 0).long(), 1) > 0
    tokens = combine(rows, cols, size[1]).masked_fill(missing, 0)
    regions = combine(row_parts, col_parts, 2).masked_fill(missing, -1).int()
    slots = torch.cartesian_prod(torch.arange(high), torch.arange(wide)).view(-1, 2).int()
    padding = missing.to(device) if missing.any() else None
    n = high * wide
    return Geometry(
        tokens.to(device),
        tokens.masked_fill(missing, -1).int().to(device),
        regions.to(device),
        bool((regions == 0).all()),
        padding,
        slots.to(device),
        order_of(tokens, missing, device),
        order_of(tokens.T, missing.T, device),
        aligned(n).to(device),
    )


def axis_windows(n: int, window_size: int, shifted: bool) -> tuple[Tensor, Tensor]:
    """Return the windows along an axis of n tokens.

    Returns:
        Index of the token of every slot, int64 (windows, slots), -1 for padding; and 1 for tokens of the
        first window if it shares a window with the last one, else 0, int64 (windows, slots).
    """
    if n <= window_size:
        return torch.arange(n)[None], torch.zeros(1, n, dtype=torch.int64)
    first = window_size // 2 if shifted else 0  # tokens of the first window, if it is smaller
    start = first - window_size if first else 0
    last = (n - start) % window_size or window_size
    count = -(-(n - start) // window_size)
    tokens = start + torch.arange(count * window_size).view(count, window_size)
    parts = torch.zeros_like(tokens)
    if first and first + last <= window_size:
        tokens[-1, window_size - first :] = torch.arange(first)
        parts[-1, window_size - first :] = 1
        tokens, parts = tokens[1:], parts[1:]
    return tokens.masked_fill((tokens < 0) | (tokens >= n), -1), parts


def aligned(n: int) -> Tensor:
    """Return the slot of every column of biases of n slots, int64 (m,); see `Geometry.keys`."""
    return torch.arange(-(-n // ALIGNMENT) * ALIGNMENT).clamp(max=n - 1)


def order_of(tokens: Tensor, missing: Tensor, device: torch.device) -> Order:
    """Return the order of slots, given their tokens and whether they are padding, both (k, n) or (n, k)."""
    tokens, missing = tokens.flatten(), missing.flatten()
    place = torch.empty(int((~missing).sum()), dtype=torch.int64)
    place[tokens[~missing]] = torch.arange(len(tokens))[~missing]
    padding = missing[:, None].to(device) if missing.any() else None
    return Order(tokens.to(device), place.to(device), padding)


def dense_windows(
    size: tuple[int, int],
    window_size: int,
    shifted: bool,
    segment_ids: Tensor | None,
    device: torch.device,
    fused: bool,
) -> DenseWindows:
    """Return the windows of a map; the bias table is made for windows of `window_size`.

    Args:
        size: The map's (H, W).
        window_size: Side of a window in tokens.
        shifted: Whether windows are shifted.
        segment_ids: Integer map (H, W), from 0, or None if all tokens have the same ID.
        device: Device of the tokens.
        fused: Whether the fused kernel is used.
    """
    shape = geometry(size, window_size, shifted, device)
    in_batch = shape.uniform and segment_ids is None
    ids = _slot_ids(shape, segment_ids)
    coords = shape.slots.expand(1, len(ids), -1, -1)
    coords = coords.contiguous() if fused else coords
    return DenseWindows(
        shape.index,
        ids,
        coords,
        2 * window_size - 1,
        1,
        shape.by_window if in_batch else shape.by_slot,
        in_batch,
        None if in_batch or fused else different_ids(shape, ids),
        _shared_lookup(tuple(min(n, window_size) for n in size), window_size, device),
        fused,
    )


def _slot_ids(shape: Geometry, segment_ids: Tensor | None) -> Tensor:
    """Return an ID per slot, int32 (k, n), that combines segment and region."""
    if segment_ids is None:
        return shape.regions
    ids = segment_ids.flatten().take(shape.tokens).int()
    ids = ids if shape.uniform else shape.regions.add(ids, alpha=4)
    return ids if shape.padding is None else ids.masked_fill(shape.padding, -1)


def different_ids(shape: Geometry, ids: Tensor) -> Tensor:
    """Return which queries and keys of every window have different IDs, bool (k, 1, n, m)."""
    return (ids[:, :, None] != by_key(shape, ids)[:, None])[:, None]


def by_key(shape: Geometry, values: Tensor) -> Tensor:
    """Repeat the last of values (..., n) as `Geometry.keys` does: (..., m)."""
    return values if len(shape.keys) == values.shape[-1] else values.index_select(-1, shape.keys)


@torch.compiler.disable
@lru_cache(maxsize=64)
def _shared_lookup(window: tuple[int, int], table_window: int, device: torch.device) -> SharedLookup:
    def make() -> SharedLookup:
        shape = geometry(window, max(window), False, torch.device("cpu"))
        side = 2 * table_window - 1
        codes = shape.slots[:, 0].long() * side + shape.slots[:, 1]
        rows = codes[:, None] - by_key(shape, codes) + (table_window - 1) * (side + 1)
        positions = inverse(rows[:, : len(codes)].flatten(), side**2)
        return SharedLookup(rows[None].to(device), positions.to(device))

    return outside_modes(make)
