"""Window attention with a relative position bias, without masks or, on GPUs, with `DenseWindows`.

Without masks, a map of tokens is partitioned into segments. A segment contains the tokens of a window that
have the same segment ID, and tokens attend to each other only inside their segment. Logits that a mask would
discard are therefore never computed: between the two images of a mixture (which have different segment IDs),
and between the two parts of a shifted window that wraps around. There is no padding: if the window size does
not divide the map, windows at the border are smaller.

A partition depends only on sizes, segment IDs and coordinates of visible tokens; the batch shares them.
Inside a stage, tokens are sequences (B, L, C) in the order of their segments, as all operations but attention
are per token. Segments of equal length are adjacent. They form a bucket and are computed together.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones.layers.attention import attend
from mixmae_bench.backbones.layers.checkpointing import call
from mixmae_bench.backbones.layers.dense_attention import window_attention
from mixmae_bench.backbones.layers.dense_windows import DenseWindows, dense_windows, outside_modes
from mixmae_bench.backbones.layers.formats import compute_dtype
from mixmae_bench.backbones.layers.forms import chosen_form, use, windows_are_whole
from mixmae_bench.backbones.layers.grouped_windows import grouped_windows
from mixmae_bench.backbones.layers.packed_windows import Packed, packed_windows
from mixmae_bench.backbones.layers.token_coords import TokenCoords
from mixmae_bench.backbones.layers.tracing import is_traced, map_size
from mixmae_bench.backbones.layers.window_kernel import kernel_wins

RECOMPUTED = ("relative_position_index", "attn_mask")
"""Last parts of the names of official buffers. They follow from sizes and are computed, never loaded."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Segments of equal length.

    Attributes:
        count: Number of segments.
        length: Number of tokens per segment.
        relative_coords: (row, column) of key minus query, int64 (count, length, length, 2), or
            (1, length, length, 2) if they are the same in all segments.
    """

    count: int
    length: int
    relative_coords: Tensor


class Partition:
    """A partition of a map of tokens into segments.

    Windows are those of `TokenCoords`. The official code rolls the first and last windows of a shifted axis
    into one window and masks attention between them.

    Args:
        tokens: Coordinates of the tokens (H, W).
        window_size: Side of a window in tokens.
        shifted: Whether windows are shifted.
        segment_ids: Integer map (H, W), from 0, or None if all tokens have the same ID.
        device: Device of the tokens.
        share: Whether a bucket stores relative coordinates once, for rectangles of the same shape.

    Attributes:
        size: The map's (H, W).
        segments: Index of the segment of every token, int64 (H, W).
        order: Row-major index of every token in the order of segments, int64 (L,).
        place: Inverse of `order`, int64 (L,).
        buckets: The segments, in this order.
    """

    def __init__(
        self,
        tokens: TokenCoords,
        window_size: int,
        shifted: bool,
        segment_ids: Tensor | None,
        device: torch.device,
        share: bool,
    ) -> None:
        coords = tokens.coords.flatten(0, 1)
        self.size = map_size(tokens.coords[None])
        window = tokens.windows(window_size, shifted)
        if segment_ids is not None:
            window = window * (segment_ids.max() + 1) + segment_ids
        self.segments = window.unique(return_inverse=True)[1]

        index = self.segments.flatten().argsort(stable=True)
        lengths = self.segments.flatten().bincount().tolist()
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for segment in index.split(lengths):
            # Rectangles of the same shape have the same relative coordinates.
            height = int(coords[segment[-1], 0] - coords[segment[0], 0]) if share else 0
            alike.setdefault((len(segment), height), []).append(segment)
        stacks = [torch.stack(segments) for segments in alike.values()]
        self.order = torch.cat([stack.flatten() for stack in stacks]).to(device)
        self.place = self.order.argsort()
        self.buckets = []
        for stack in stacks:
            relative = relative_coords(coords[stack[:1] if share else stack])
            self.buckets.append(Bucket(*stack.shape, relative.to(device)))

    def arrange(self, maps: Tensor) -> Tensor:
        """Reorder the tokens of maps (B, H, W, C) by segment: (B, L, C)."""
        return _permute(maps.flatten(1, 2), self.order, self.place)

    def restore(self, tokens: Tensor) -> Tensor:
        """Reorder tokens (B, L, C) back to maps (B, H, W, C)."""
        return _permute(tokens, self.place, self.order).unflatten(1, self.size)

    def split(self, tokens: Tensor) -> list[Tensor]:
        """Split arranged tokens (B, L, C) into one tensor (B, count, length, C) per bucket."""
        parts = tokens.split([bucket.count * bucket.length for bucket in self.buckets], dim=1)
        return [
            part.unflatten(1, (bucket.count, bucket.length))
            for part, bucket in zip(parts, self.buckets, strict=True)
        ]


@torch.compiler.disable  # depends on values; every new mask would cause a recompilation
def partition_map(
    size: tuple[int, int],
    window_size: int,
    shifted: bool,
    segment_ids: Tensor | None,
    device: torch.device,
    visible: TokenCoords | None = None,
) -> Partition:
    """Return the `Partition` of a map (H, W), or of visible tokens (H, W) of a larger map.

    The other arguments are those of `Partition`. Partitions of maps without segment IDs are cached.
    """
    if visible is not None:
        return Partition(visible, window_size, shifted, None, device, share=False)
    if windows_are_whole():
        return Partition(TokenCoords.whole(size), window_size, False, None, device, share=False)
    if segment_ids is not None:
        ids = segment_ids.cpu()
        return Partition(TokenCoords.whole(size), window_size, shifted, ids, device, share=False)
    return _ungrouped(size, window_size, shifted and max(size) > window_size, device)


@lru_cache(maxsize=64)
def _ungrouped(size: tuple[int, int], window_size: int, shifted: bool, device: torch.device) -> Partition:
    return outside_modes(
        lambda: Partition(TokenCoords.whole(size), window_size, shifted, None, device, share=True)
    )


def relative_coords(coords: Tensor) -> Tensor:
    """Return (row, column) of key minus query, (k, n, n, 2), of coordinates (k, n, 2)."""
    return coords[:, None] - coords[:, :, None]


def relative_position_index(relative_coords: Tensor, table_window: int) -> Tensor:
    """Return the rows of a bias table for relative coordinates (key minus query, (..., 2)): int64 (...).

    The table covers offsets of up to `table_window - 1` in each direction. The row of an offset is
    (dy + T-1) * (2T-1) + (dx + T-1), with (dy, dx) = query minus key and T = `table_window` (M4). Smaller
    windows use the middle of the table.
    """
    dy, dx = (table_window - 1 - relative_coords).unbind(-1)
    return dy * (2 * table_window - 1) + dx


class _Permute(torch.autograd.Function):
    """Permute tokens. The backward pass permutes gradients, while that of index_select accumulates them."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, tokens: Tensor, order: Tensor, back: Tensor
    ) -> Tensor:
        ctx.orders = order, back
        return tokens.index_select(1, order)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        order, back = ctx.orders
        return _permute(grad, back, order), None, None


def _permute(tokens: Tensor, order: Tensor, back: Tensor) -> Tensor:
    if is_traced():
        return tokens.index_select(1, order)
    return _Permute.apply(tokens, order, back)


def run_blocks(
    blocks: Sequence[nn.Module],
    maps: Tensor,
    segment_ids: Tensor | None,
    of_windows: Callable[[Partition | DenseWindows], object] | None = None,
    with_cp: bool = False,
    packed: Packed | None = None,
    visible: TokenCoords | None = None,
) -> Tensor:
    """Run window attention blocks at one resolution, in the form that `forms` chooses.

    Args:
        blocks: Called with tokens (B, L, C), their windows, and the result of `of_windows` for them. Tokens
            are arranged for a `Partition` and row-major for `DenseWindows`. `block.attn` has the attributes
            `window_size` and `shifted`.
        maps: Tokens (B, H, W, C).
        segment_ids: Integer map (H, W), from 0, or None if all tokens have the same ID.
        of_windows: Computes values shared by blocks of the same windows, such as relative coordinates.
        with_cp: See `checkpointing.call`.
        packed: Coordinates of packed maps for `DenseWindows`, or None for the coordinates in the map.
        visible: Coordinates of tokens (H, W) in a whole map; windows are those of the whole map. Excludes
            `segment_ids` and `packed`. None if the maps are whole.

    Returns:
        (B, H, W, C).
    """
    form = _form(blocks, maps, visible)
    if form == "segments":
        return _run_in_segments(blocks, maps, segment_ids, of_windows, with_cp, visible)
    size = map_size(maps)
    found: dict[tuple[int, bool], tuple] = {}
    tokens = maps.flatten(1, 2)
    for block in blocks:
        key = block.attn.window_size, block.attn.shifted
        if key not in found:
            if visible is not None:
                windows = grouped_windows(visible, *key, maps.device, form == "kernel")
            elif packed is None:
                windows = dense_windows(size, *key, segment_ids, maps.device, form == "kernel")
            else:
                windows = packed_windows(packed, *key, segment_ids, form == "kernel")
            found[key] = (windows,) if of_windows is None else (windows, of_windows(windows))
        tokens = call(block, tokens, *found[key], with_cp=with_cp)
    return tokens.unflatten(1, size)


def _form(blocks: Sequence[nn.Module], maps: Tensor, visible: TokenCoords | None) -> str:
    if visible is not None and windows_are_whole():
        return use("plain")  # GreenMIM's official code computes the masked logits of groups
    attn = blocks[0].attn
    size = map_size(maps) if visible is None else visible.size
    slots = math.prod(min(side, attn.window_size) for side in size)
    head_dim = maps.shape[-1] // attn.num_heads
    return use(chosen_form(maps.device, kernel_wins(maps.device, head_dim, slots, compute_dtype(maps))))


def _run_in_segments(
    blocks: Sequence[nn.Module],
    maps: Tensor,
    segment_ids: Tensor | None,
    of_windows: Callable[[Partition | DenseWindows], object] | None,
    with_cp: bool,
    visible: TokenCoords | None,
) -> Tensor:
    """Compute `run_blocks` in segments; tokens are reordered only between different windows."""
    partitions: dict[tuple[int, bool], tuple[Partition, ...]] = {}
    tokens, here = maps, None
    for block in blocks:
        windows = block.attn.window_size, block.attn.shifted
        if windows not in partitions:
            partition = partition_map(map_size(maps), *windows, segment_ids, maps.device, visible)
            partitions[windows] = (partition,) if of_windows is None else (partition, of_windows(partition))
        partition, *shared = partitions[windows]
        if here is None:
            tokens = partition.arrange(tokens)
        elif partition is not here:
            tokens = _permute(tokens, here.place[partition.order], partition.place[here.order])
        here = partition
        tokens = call(block, tokens, partition, *shared, with_cp=with_cp)
    return here.restore(tokens)


@torch.compiler.disable  # as `partition_map`
def attend_in_segments(
    qkv: Tensor, num_heads: int, biases: Iterable[Tensor], partition: Partition, scale: float | None = None
) -> Tensor:
    """Compute attention inside the segments of a partition: (B, L, C).

    Args:
        qkv: Queries, keys and values (B, L, 3*C) of arranged tokens.
        num_heads: Heads.
        biases: Bias of every bucket, see `attend`.
        partition: The partition.
        scale: See `attend`.
    """
    out = [
        attend(part, num_heads, bias, scale).flatten(1, 2)
        for part, bias in zip(partition.split(qkv), biases, strict=True)
    ]
    return torch.cat(out, dim=1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learnt table of relative position biases.

    Args:
        dim: Channels.
        num_heads: Heads.
        window_size: Side in tokens of the windows that the table is made for.
        shifted: Whether windows are shifted.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Scale of the products of queries and keys; None for head_dim ** -0.5.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: int,
        shifted: bool = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.shifted = shifted
        self.qk_scale = qk_scale
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window_size - 1) ** 2, num_heads))
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, tokens: Tensor, windows: Partition | DenseWindows) -> Tensor:
        """Attend inside windows; return (B, L, C). Tokens (B, L, C) are as in `run_blocks`."""
        qkv = self.qkv(tokens)
        if isinstance(windows, DenseWindows):
            table = self.relative_position_bias_table
            return self.proj(window_attention(qkv, self.num_heads, table, windows, self.qk_scale))
        biases = (self.bias(bucket.relative_coords) for bucket in windows.buckets)
        return self.proj(attend_in_segments(qkv, self.num_heads, biases, windows, self.qk_scale))

    def bias(self, relative_coords: Tensor) -> Tensor:
        """Return the biases (1, k, heads, n, n) of relative coordinates (k, n, n, 2), key minus query."""
        index = relative_position_index(relative_coords, self.window_size)
        return F.embedding(index, self.relative_position_bias_table).permute(0, 3, 1, 2)[None]


def spread(segment_ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample a map of segment IDs to `size` (H, W) by repeating its entries.

    Raises:
        ValueError: If the size of the map does not divide `size`.
    """
    (rows, cols), (H, W) = segment_ids.shape, size
    if H % rows or W % cols:
        raise ValueError(f"a {rows}x{cols} map of segment IDs does not divide a {H}x{W} grid of tokens")
    return segment_ids.repeat_interleave(H // rows, 0).repeat_interleave(W // cols, 1)
