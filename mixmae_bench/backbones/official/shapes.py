"""What the shapes of a checkpoint's tensors tell of the model that they fit."""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor

State = Mapping[str, Tensor]
"""Parameters by our names; of a backbone, without `backbone.` in front."""


def mlp_ratio(weights: Iterable[Tensor]) -> int | float:
    """Return the ratio of hidden width to width of MLPs, by the weights of their first layers.

    Hidden widths are rounded down. Where several ratios give them, it is the one with the fewest decimals.

    Raises:
        ValueError: Where no ratio gives all widths.
    """
    sizes = [(weight.shape[1], len(weight)) for weight in weights]
    low, high = max(out / width for width, out in sizes), min((out + 1) / width for width, out in sizes)
    for decimals in range(17):
        ratio = math.ceil(low * 10**decimals) / 10**decimals
        if ratio < high and all(int(width * ratio) == out for width, out in sizes):
            return int(ratio) if ratio == int(ratio) else ratio
    raise ValueError(f"widths of its MLPs are {sizes}, which no one ratio gives")


def fc1_weights(state: State) -> list[Tensor]:
    """Return the weights of the first layers of all MLPs."""
    return [tensor for name, tensor in state.items() if name.endswith("mlp.fc1.weight")]


def under(prefix: str, state: State) -> dict[str, Tensor]:
    """Return the parameters under a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def flat_stages(encoder: State) -> tuple[list[int], tuple[int, ...]]:
    """Return the first block and the number of blocks of every stage, where a downsample begins a stage."""
    blocks = sorted({int(name.split(".")[1]) for name in encoder if name.startswith("blocks.")})
    firsts = [0, *(i for i in blocks[1:] if f"blocks.{i}.downsample.proj.weight" in encoder)]
    return firsts, tuple(b - a for a, b in zip(firsts, [*firsts[1:], len(blocks)], strict=True))


def patch_size(encoder: State) -> int:
    """Return the pixels per token of the patch embedding."""
    return encoder["patch_embed.proj.weight"].shape[-1]


def image_side(encoder: State, buffers: State) -> int | None:
    """Return the pixels per side of the images that a backbone is made for, by its position table.

    Args:
        encoder: Parameters.
        buffers: Official buffers.

    Returns:
        The side, or None where there is no table.
    """
    for name in ("absolute_pos_embed", "pos_embed"):
        if name in encoder:
            return math.isqrt(encoder[name].shape[1]) * patch_size(encoder)  # a class token adds nothing
    return None
