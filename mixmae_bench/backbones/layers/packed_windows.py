"""Dense windows of packed images (UM-MAE), with the relative coordinates of the whole images.

A packed map contains one patch of every 2x2 block. So the coordinate of a token along an axis is known from
its place in the packed map, except for one bit: the patch is the first or the second one of its block.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from mixmae_bench.backbones.layers.dense_bias import PackedLookup, inverse
from mixmae_bench.backbones.layers.dense_windows import (
    DenseWindows,
    Geometry,
    by_key,
    dense_windows,
    different_ids,
    geometry,
    outside_modes,
)
from mixmae_bench.backbones.layers.forms import VARIABLE
from mixmae_bench.backbones.layers.tracing import map_size


@dataclass(frozen=True, eq=False)
class Packed:
    """Coordinates of the tokens of packed maps.

    Attributes:
        coords: (row, column) in tokens of the whole image, (B, H, W, 2).
        patch: Side of a mask patch in tokens: an integer or 1/2.
    """

    coords: Tensor
    patch: float

    @property
    def unit(self) -> int:
        """Units per token in which coordinates are integers."""
        return 2 if self.patch < 1 else 1

    @cached_property
    def corners(self) -> Tensor:
        """Per axis, 0 for the first and 1 for the second patch of the block, int32 (B, H * W, 2).

        Raises:
            RuntimeError: If coordinates are not those of one patch per 2x2 block. On GPUs, a later operation
                raises it, so that the host does not wait.
        """
        _, H, W, _ = self.coords.shape
        first = _first_coords((H, W), self.patch, self.coords.device)
        corners = (self.coords.flatten(1, 2) - first) / self.patch
        valid = ((corners == 0) | (corners == 1)).all()
        torch._assert_async(
            valid,
            f"coords are not those of one patch of {self.patch} tokens per 2x2 block; "
            f"set {VARIABLE}=segments",
        )
        return corners.int()


@dataclass(frozen=True, eq=False)
class _Offsets:
    """What relative coordinates of packed tokens have in common for all images.

    Attributes:
        slots: Coordinates of the slots if all visible patches are the first ones, int32 (k, n, 2), in units.
        side: Relative coordinates per axis, in units.
        kinds: Number of windows with different relative coordinates: 1 or k.
        positions: See `PackedLookup`.
    """

    slots: Tensor
    side: int
    kinds: int
    positions: Tensor


def packed_windows(
    packed: Packed, window_size: int, shifted: bool, segment_ids: Tensor | None, fused: bool
) -> DenseWindows:
    """Return the windows of packed maps; the other arguments are those of `dense_windows`."""
    size = map_size(packed.coords)
    device = packed.coords.device
    windows = dense_windows(size, window_size, shifted, segment_ids, device, fused)
    shape = geometry(size, window_size, shifted, device)
    offsets = _offsets(size, window_size, shifted, packed.patch, device)
    step, side = round(packed.patch * packed.unit), offsets.side
    corners = packed.corners.index_select(1, shape.tokens.flatten()).unflatten(1, shape.tokens.shape)
    coords = offsets.slots.add(corners, alpha=step)

    codes = coords[..., 0] * side + coords[..., 1]
    rows = codes[..., None] - by_key(shape, codes)[:, :, None] + (side**2 - 1) // 2
    if not shape.uniform or segment_ids is not None:
        rows = rows.masked_fill(different_ids(shape, windows.segment_ids)[:, 0], side**2)
    corners = corners[..., 0] * 2 + corners[..., 1]
    one_hot = corners[..., None] == torch.arange(4, device=device)
    one_hot = one_hot if offsets.kinds > 1 else one_hot.flatten(0, 1)[:, None]
    return replace(
        windows,
        coords=coords,
        side=side,
        unit=packed.unit,
        order=shape.by_window,
        in_batch=True,
        different=None,
        lookup=PackedLookup(rows.flatten(0, 1), one_hot, offsets.positions),
    )


def _first_along(n: int, patch: float) -> Tensor:
    """Return the coordinates of n packed tokens along an axis if the first patch of each block is visible."""
    tokens = torch.arange(n)
    if patch < 1:
        return tokens * 2
    return tokens // int(patch) * int(2 * patch) + tokens % int(patch)


@torch.compiler.disable
@lru_cache(maxsize=64)
def _first_coords(size: tuple[int, int], patch: float, device: torch.device) -> Tensor:
    def make() -> Tensor:
        return torch.cartesian_prod(*(_first_along(n, patch) for n in size)).view(-1, 2).to(device)

    return outside_modes(make)


@torch.compiler.disable
@lru_cache(maxsize=64)
def _offsets(
    size: tuple[int, int], window_size: int, shifted: bool, patch: float, device: torch.device
) -> _Offsets:
    return outside_modes(_make_offsets, size, window_size, shifted, patch, device)


def _make_offsets(
    size: tuple[int, int], window_size: int, shifted: bool, patch: float, device: torch.device
) -> _Offsets:
    shape = geometry(size, window_size, shifted, torch.device("cpu"))
    unit = Packed(torch.empty(0), patch).unit
    step = round(patch * unit)
    slots = _first_coords(size, patch, torch.device("cpu"))[shape.tokens] * unit
    relative = slots[:, :, None] - slots[:, None]
    together = _together(shape)
    half = int((relative.abs().amax(-1) * together).max()) + step
    side = 2 * half + 1
    codes = relative[..., 0] * side + relative[..., 1]

    # Windows are of one kind if pairs of slots have equal relative coordinates wherever they are together.
    lowest = codes.masked_fill(~together, side**2).amin(0, keepdim=True)
    highest = codes.masked_fill(~together, -(side**2)).amax(0, keepdim=True)
    if bool((lowest >= highest).all()):
        codes, together = lowest, together.any(0, keepdim=True)
    bits = torch.cartesian_prod(torch.arange(2), torch.arange(2)) @ torch.tensor([side, 1]) * step
    rows = codes[:, :, None, :, None] + bits[:, None, None] - bits + (side**2 - 1) // 2
    rows = rows.masked_fill(~together[:, :, None, :, None], -1)
    positions = inverse(rows.flatten(), side**2)
    return _Offsets(slots.int().to(device), side, len(codes), positions.to(device))


def _together(shape: Geometry) -> Tensor:
    """Return which pairs of slots are tokens of the same region, bool (k, n, n)."""
    regions = shape.regions
    return (regions[:, :, None] == regions[:, None]) & (regions >= 0)[:, None]
