"""Inference of model settings from the shapes of a checkpoint's tensors."""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]
"""A state dict with our names; for a backbone, without the prefix `backbone.`."""


def mlp_ratio(weights: Iterable[Tensor]) -> int | float:
    """Infer the ratio of hidden width to width of MLPs from the weights of their first layers.

    Hidden widths are rounded down. If several ratios are possible, return the one with the fewest decimals.

    Raises:
        ValueError: If no single ratio gives all hidden widths.
    """
    sizes = [(weight.shape[1], len(weight)) for weight in weights]
    low, high = max(out / width for width, out in sizes), min((out + 1) / width for width, out in sizes)
    for decimals in range(17):
        ratio = math.ceil(low * 10**decimals) / 10**decimals
        if ratio < high and all(int(width * ratio) == out for width, out in sizes):
            return int(ratio) if ratio == int(ratio) else ratio
    raise ValueError(f"no single mlp_ratio gives the widths and hidden widths of its MLPs, {sizes}")


def fc1_weights(state: State) -> list[Tensor]:
    """Return the weights of the first layers of all MLPs."""
    return [tensor for name, tensor in state.items() if name.endswith("mlp.fc1.weight")]


def under(prefix: str, state: State) -> dict[str, Tensor]:
    """Return the parameters under a prefix, without the prefix."""
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def flat_stages(encoder: State) -> tuple[list[int], tuple[int, ...]]:
    """Return the first block and the number of blocks of every stage; a downsample begins a stage."""
    blocks = sorted({int(name.split(".")[1]) for name in encoder if name.startswith("blocks.")})
    firsts = [0, *(i for i in blocks[1:] if f"blocks.{i}.downsample.proj.weight" in encoder)]
    return firsts, tuple(b - a for a, b in zip(firsts, [*firsts[1:], len(blocks)], strict=True))


def patch_size(encoder: State) -> int:
    """Return the side of a patch in pixels, from the patch embedding."""
    return encoder["patch_embed.proj.weight"].shape[-1]


def image_side(encoder: State, buffers: State) -> int | None:
    """Infer the side in pixels of the images that a backbone is made for, from its position table.

    Args:
        encoder: Parameters.
        buffers: Official buffers.

    Returns:
        The side, or None if there is no table.
    """
    for name in ("absolute_pos_embed", "pos_embed"):
        if name in encoder:
            return math.isqrt(encoder[name].shape[1]) * patch_size(encoder)  # a class token adds nothing
    return None
