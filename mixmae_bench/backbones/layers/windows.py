"""Window attention with a relative position bias, without masks.

A map of tokens is partitioned into segments. Tokens attend to one another if they share a window and a
segment id, and a segment holds all tokens that do. Logits that a mask would discard are therefore never
computed: between the two images of a mixture (which have different segment ids), across the seam of shifted
windows, or with padding. There is no padding: at the border of a map that windows do not divide, windows are
smaller.

A partition depends on sizes and on segment ids, which the batch shares, never on the images. Inside a stage,
tokens are kept as sequences (B, L, C) in the order of their segments, as everything but attention works token
by token. Segments of one length lie side by side, in a bucket, and are computed together.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmae_bench.backbones.layers.attention import attend
from mixmae_bench.backbones.layers.checkpointing import call
from mixmae_bench.backbones.layers.tracing import is_traced, map_size

RECOMPUTED = ("relative_position_index", "attn_mask")
"""Last parts of the names of official buffers that follow from the sizes; ours are built, never loaded."""

_whole_windows = False


@contextmanager
def whole_windows() -> Iterator[None]:
    """Partition into unshifted windows only, without segment ids: for counting FLOPs, never for values.

    The official codes compute all logits of a window and mask some, and UM-MAE's computes the biases of every
    window, equal as they are. Inside this context a forward pass does as much arithmetic as theirs, so that a
    count does not depend on what this package leaves out.
    """
    global _whole_windows
    before, _whole_windows = _whole_windows, True
    try:
        yield
    finally:
        _whole_windows = before


def windows_are_whole() -> bool:
    """Whether this is inside `whole_windows`."""
    return _whole_windows


@dataclass(frozen=True, eq=False)
class Bucket:
    """Segments of equally many tokens.

    Attributes:
        count: Segments.
        length: Tokens of each.
        relative_coords: (row, column) of key minus query, int64 (count, length, length, 2), or
            (1, length, length, 2) where they are the same in all segments.
    """

    count: int
    length: int
    relative_coords: Tensor


class Partition:
    """How a map of tokens is partitioned into segments.

    A map smaller than the window is one window (the official clamp, M1 and S1). Shifted windows begin half
    a window further along the axes that have more than one (S1); the first one is then smaller, and so is the
    last: the official code rolls these two pieces into one window and masks one from the other.

    Args:
        size: The map's (H, W).
        window_size: Side of a window in tokens.
        shifted: Whether windows are shifted.
        segment_ids: Integer map (H, W), from 0, or None where all tokens share one.
        device: Where the tokens are.
        share: Whether a bucket keeps relative coordinates once, all its segments being of one shape.

    Attributes:
        size: The map's (H, W).
        segments: Number of the segment of every token, int64 (H, W).
        order: Place in the row-major map of every token in the order of segments, int64 (L,).
        place: Place in the order of segments of every token of the row-major map, int64 (L,).
        buckets: The segments in that order.
    """

    def __init__(
        self,
        size: tuple[int, int],
        window_size: int,
        shifted: bool,
        segment_ids: Tensor | None,
        device: torch.device,
        share: bool,
    ) -> None:
        self.size = size
        rows, cols = (_window_of(n, window_size, shifted) for n in size)
        window = rows[:, None] * (cols[-1] + 1) + cols
        if segment_ids is not None:
            window = window * (segment_ids.max() + 1) + segment_ids
        self.segments = window.unique(return_inverse=True)[1]

        index = self.segments.flatten().argsort(stable=True)
        lengths = self.segments.flatten().bincount().tolist()
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for segment in index.split(lengths):
            # Rectangles of one shape have the same relative coordinates; mixtures are of any shape.
            height = int(segment[-1] // size[1] - segment[0] // size[1]) if segment_ids is None else 0
            alike.setdefault((len(segment), height), []).append(segment)
        stacks = [torch.stack(segments) for segments in alike.values()]
        self.order = torch.cat([stack.flatten() for stack in stacks]).to(device)
        self.place = self.order.argsort()
        self.buckets = []
        for stack in stacks:
            relative = relative_coords(stack[:1] if share else stack, size[1])
            self.buckets.append(Bucket(*stack.shape, relative.to(device)))

    def arrange(self, maps: Tensor) -> Tensor:
        """Bring maps (B, H, W, C) into the order of segments (B, L, C)."""
        return _permute(maps.flatten(1, 2), self.order, self.place)

    def restore(self, tokens: Tensor) -> Tensor:
        """Bring tokens (B, L, C) back into maps (B, H, W, C)."""
        return _permute(tokens, self.place, self.order).unflatten(1, self.size)

    def split(self, tokens: Tensor) -> list[Tensor]:
        """Cut arranged tokens (B, L, C) into one (B, count, length, C) per bucket."""
        parts = tokens.split([bucket.count * bucket.length for bucket in self.buckets], dim=1)
        return [
            part.unflatten(1, (bucket.count, bucket.length))
            for part, bucket in zip(parts, self.buckets, strict=True)
        ]


@torch.compiler.disable  # as it depends on values, and every mask would be compiled anew
def partition_map(
    size: tuple[int, int], window_size: int, shifted: bool, segment_ids: Tensor | None, device: torch.device
) -> Partition:
    """Return the `Partition` of a map, arguments as there; those without segment ids are cached."""
    if _whole_windows:
        return Partition(size, window_size, False, None, device, share=False)
    if segment_ids is not None:
        return Partition(size, window_size, shifted, segment_ids.cpu(), device, share=False)
    return _ungrouped(size, window_size, shifted and max(size) > window_size, device)


@lru_cache(maxsize=64)
def _ungrouped(size: tuple[int, int], window_size: int, shifted: bool, device: torch.device) -> Partition:
    # What is kept must serve every later pass. In a thread of its own there is no inference mode, and neither
    # torch.export's tensors without values nor the graph that torch.jit.trace records.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(Partition, size, window_size, shifted, None, device, share=True).result()


def _window_of(n: int, window_size: int, shifted: bool) -> Tensor:
    """Number the windows along an axis: int64 (n,)."""
    if n <= window_size:
        return torch.zeros(n, dtype=torch.int64)
    shift = window_size // 2 if shifted else 0
    numbers = (torch.arange(n) - shift).div(window_size, rounding_mode="floor")
    return numbers - numbers[0]


def relative_coords(index: Tensor, width: int) -> Tensor:
    """Return (row, column) of key minus query, (k, n, n, 2).

    Args:
        index: Of the tokens in a row-major map, (k, n).
        width: Columns of the map.
    """
    coords = torch.stack([index // width, index % width], dim=-1)
    return coords[:, None] - coords[:, :, None]


def relative_position_index(relative_coords: Tensor, table_window: int) -> Tensor:
    """Return rows of a bias table for coordinates of key minus query (..., 2): int64 (...).

    The table covers offsets of up to `table_window - 1` each way, row = (dy + T-1) * (2T-1) + (dx + T-1)
    with (dy, dx) = query minus key and T = `table_window` (M4). A smaller window uses the table's middle.
    """
    dy, dx = (table_window - 1 - relative_coords).unbind(-1)
    return dy * (2 * table_window - 1) + dx


class _Permute(torch.autograd.Function):
    """Reorder tokens: the gradient is reordered back, where index_select's own would add up."""

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
    blocks: Iterable[nn.Module],
    maps: Tensor,
    segment_ids: Tensor | None,
    of_partition: Callable[[Partition], object] | None = None,
    with_cp: bool = False,
) -> Tensor:
    """Run blocks of window attention at one resolution; tokens are reordered only where windows change.

    Args:
        blocks: Called with arranged tokens (B, L, C), their `Partition`, and what `of_partition` returned for
            it; `block.attn` says `window_size` and `shifted`.
        maps: (B, H, W, C).
        segment_ids: Integer map (H, W), from 0, or None where all tokens share one.
        of_partition: Computes what blocks of one partition share, such as relative coordinates.
        with_cp: See `checkpointing.call`.

    Returns:
        (B, H, W, C).
    """
    partitions: dict[tuple[int, bool], tuple[Partition, ...]] = {}
    tokens, here = maps, None
    for block in blocks:
        windows = block.attn.window_size, block.attn.shifted
        if windows not in partitions:
            partition = partition_map(map_size(maps), *windows, segment_ids, maps.device)
            partitions[windows] = (
                (partition,) if of_partition is None else (partition, of_partition(partition))
            )
        partition, *shared = partitions[windows]
        if here is None:
            tokens = partition.arrange(tokens)
        elif partition is not here:
            tokens = _permute(tokens, here.place[partition.order], partition.place[here.order])
        here = partition
        tokens = call(block, tokens, partition, *shared, with_cp=with_cp)
    return here.restore(tokens)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learnt table of relative position biases.

    Args:
        dim: Channels.
        num_heads: Heads.
        window_size: Side of a window in tokens, for which the table is made.
        shifted: Whether windows are shifted.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor of the products of queries and keys; None for (dim / num_heads) ** -0.5.
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

    def forward(self, tokens: Tensor, partition: Partition) -> Tensor:
        """Attend inside the segments of `partition`: arranged tokens (B, L, C) to the same."""
        return self.proj(self._inside(self.qkv(tokens), partition))

    @torch.compiler.disable  # as `partition`
    def _inside(self, qkv: Tensor, partition: Partition) -> Tensor:
        out = [
            attend(part, self.num_heads, self.bias(bucket.relative_coords), self.qk_scale).flatten(1, 2)
            for part, bucket in zip(partition.split(qkv), partition.buckets, strict=True)
        ]
        return torch.cat(out, dim=1)

    def bias(self, relative_coords: Tensor) -> Tensor:
        """Turn coordinates of key minus query (k, n, n, 2) into biases (1, k, heads, n, n)."""
        index = relative_position_index(relative_coords, self.window_size)
        return F.embedding(index, self.relative_position_bias_table).permute(0, 3, 1, 2)[None]


def spread(segment_ids: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeat the entries of a map of segment ids until it has `size` (H, W).

    Raises:
        ValueError: Where the map's grid does not divide `size`.
    """
    (rows, cols), (H, W) = segment_ids.shape, size
    if H % rows or W % cols:
        raise ValueError(f"a {rows}x{cols} map of segment ids does not divide a {H}x{W} grid of tokens")
    return segment_ids.repeat_interleave(H // rows, 0).repeat_interleave(W // cols, 1)
