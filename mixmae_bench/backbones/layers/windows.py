"""Window attention with a relative position bias, without masks.

A map of tokens is cut into segments: tokens attend to one another where they share a window and a group,
and a segment is all that do. So logits that a mask would throw away are never computed: between the two
images of a mixture (the groups), across the seam of shifted windows, or with padding, which does not exist
here: at the border of a map that windows do not divide, windows are smaller.

Cutting depends on sizes, and on groups that the batch shares, never on the images. Inside a stage, tokens
are kept as sequences (B, L, C) in the order of their segments, as everything but attention works token by
token; segments of one length lie side by side and are computed together.
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
    """Cut into unshifted windows only, as if there were no groups: for counting FLOPs, never for values.

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
class Bunch:
    """Segments of equally many tokens.

    Attributes:
        count: Segments.
        length: Tokens of each.
        offsets: (row, column) of every key from every query, int64 (count, length, length, 2), or
            (1, length, length, 2) where they are the same in all segments.
    """

    count: int
    length: int
    offsets: Tensor


class Partition:
    """How a map of tokens is cut into segments.

    A map smaller than the window is one window (the official clamp, M1 and S1). Shifted windows begin half
    a window further along the axes that have more than one (S1); the first one is then smaller, and so is the
    last: the official code rolls these two pieces into one window and masks one from the other.

    Args:
        size: The map's (H, W).
        window_size: Side of a window in tokens.
        shifted: Whether windows are shifted.
        groups: Integer map (H, W), from 0, or None for one group.
        device: Where the tokens are.
        share: Whether a bunch keeps offsets once, all its segments being of one shape.

    Attributes:
        size: The map's (H, W).
        segments: Number of the segment of every token, int64 (H, W).
        order: Place in the row-major map of every token in the order of segments, int64 (L,).
        place: Place in the order of segments of every token of the row-major map, int64 (L,).
        bunches: The segments in that order.
    """

    def __init__(
        self,
        size: tuple[int, int],
        window_size: int,
        shifted: bool,
        groups: Tensor | None,
        device: torch.device,
        share: bool,
    ) -> None:
        self.size = size
        rows, cols = (_window_of(n, window_size, shifted) for n in size)
        window = rows[:, None] * (cols[-1] + 1) + cols
        if groups is not None:
            window = window * (groups.max() + 1) + groups
        self.segments = window.unique(return_inverse=True)[1]

        places = self.segments.flatten().argsort(stable=True)
        lengths = self.segments.flatten().bincount().tolist()
        alike: dict[tuple[int, int], list[Tensor]] = {}
        for segment in places.split(lengths):
            # Rectangles of one shape have the same offsets; mixtures are of any shape.
            height = int(segment[-1] // size[1] - segment[0] // size[1]) if groups is None else 0
            alike.setdefault((len(segment), height), []).append(segment)
        stacks = [torch.stack(segments) for segments in alike.values()]
        self.order = torch.cat([stack.flatten() for stack in stacks]).to(device)
        self.place = self.order.argsort()
        self.bunches = []
        for stack in stacks:
            offsets = key_minus_query(stack[:1] if share else stack, size[1])
            self.bunches.append(Bunch(*stack.shape, offsets.to(device)))

    def arrange(self, maps: Tensor) -> Tensor:
        """Bring maps (B, H, W, C) into the order of segments (B, L, C)."""
        return _permute(maps.flatten(1, 2), self.order, self.place)

    def restore(self, tokens: Tensor) -> Tensor:
        """Bring tokens (B, L, C) back into maps (B, H, W, C)."""
        return _permute(tokens, self.place, self.order).unflatten(1, self.size)

    def split(self, tokens: Tensor) -> list[Tensor]:
        """Cut arranged tokens (B, L, C) into one (B, count, length, C) per bunch."""
        parts = tokens.split([bunch.count * bunch.length for bunch in self.bunches], dim=1)
        return [
            part.unflatten(1, (bunch.count, bunch.length))
            for part, bunch in zip(parts, self.bunches, strict=True)
        ]


@torch.compiler.disable  # as it depends on values, and every mask would be compiled anew
def partition(
    size: tuple[int, int], window_size: int, shifted: bool, groups: Tensor | None, device: torch.device
) -> Partition:
    """Return the `Partition` of a map, arguments as there; those without groups are kept."""
    if _whole_windows:
        return Partition(size, window_size, False, None, device, share=False)
    if groups is not None:
        return Partition(size, window_size, shifted, groups.cpu(), device, share=False)
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


def key_minus_query(places: Tensor, width: int) -> Tensor:
    """Offsets (row, column) of every key from every query: places (k, n) in a row-major map, (k, n, n, 2)."""
    spots = torch.stack([places // width, places % width], dim=-1)
    return spots[:, None] - spots[:, :, None]


def relative_position_index(offsets: Tensor, table_window: int) -> Tensor:
    """Rows of a bias table for offsets of key minus query (..., 2), int64 (...).

    The table covers offsets of up to `table_window - 1` each way, row = (dy + T-1) * (2T-1) + (dx + T-1)
    with (dy, dx) = query minus key and T = `table_window` (M4). A smaller window uses the table's middle.
    """
    dy, dx = (table_window - 1 - offsets).unbind(-1)
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
    groups: Tensor | None,
    of_cut: Callable[[Partition], object] | None = None,
    with_cp: bool = False,
) -> Tensor:
    """Run blocks of window attention at one resolution; tokens are reordered only where windows change.

    Args:
        blocks: Called with arranged tokens (B, L, C), their `Partition`, and what `of_cut` returned for it;
            `block.attn` says `window_size` and `shifted`.
        maps: (B, H, W, C).
        groups: Integer map (H, W), from 0, or None for one group.
        of_cut: Computes what blocks of one partition share, such as offsets between tokens.
        with_cp: See `checkpointing.call`.

    Returns:
        (B, H, W, C).
    """
    cuts: dict[tuple[int, bool], tuple[Partition, ...]] = {}
    tokens, here = maps, None
    for block in blocks:
        windows = block.attn.window_size, block.attn.shifted
        if windows not in cuts:
            cut = partition(map_size(maps), *windows, groups, maps.device)
            cuts[windows] = (cut,) if of_cut is None else (cut, of_cut(cut))
        cut, *shared = cuts[windows]
        if here is None:
            tokens = cut.arrange(tokens)
        elif cut is not here:
            tokens = _permute(tokens, here.place[cut.order], cut.place[here.order])
        here = cut
        tokens = call(block, tokens, cut, *shared, with_cp=with_cp)
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

    def forward(self, tokens: Tensor, cut: Partition) -> Tensor:
        """Attend inside the segments of `cut`: arranged tokens (B, L, C) to the same."""
        return self.proj(self._inside(self.qkv(tokens), cut))

    @torch.compiler.disable  # as `partition`
    def _inside(self, qkv: Tensor, cut: Partition) -> Tensor:
        out = [
            attend(part, self.num_heads, self.bias(bunch.offsets), self.qk_scale).flatten(1, 2)
            for part, bunch in zip(cut.split(qkv), cut.bunches, strict=True)
        ]
        return torch.cat(out, dim=1)

    def bias(self, offsets: Tensor) -> Tensor:
        """Turn offsets (k, n, n, 2) into biases (1, k, heads, n, n)."""
        index = relative_position_index(offsets, self.window_size)
        return F.embedding(index, self.relative_position_bias_table).permute(0, 3, 1, 2)[None]


def spread(groups: Tensor, size: tuple[int, int]) -> Tensor:
    """Repeat the cells of a group map until it has `size` (H, W).

    Raises:
        ValueError: Where the map's grid does not divide `size`.
    """
    (rows, cols), (H, W) = groups.shape, size
    if H % rows or W % cols:
        raise ValueError(f"a {rows}x{cols} group map does not divide a {H}x{W} grid of tokens")
    return groups.repeat_interleave(H // rows, 0).repeat_interleave(W // cols, 1)
