"""Mappings of parameter names in other packages to the official names."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Rename = Callable[[str], str | None]
"""Returns the official name of a parameter, or None if the name is unknown."""


def by(*rules: tuple[str, str]) -> Rename:
    """Return a function that applies the first rule with a regular expression that matches a name's start."""
    compiled = [(re.compile(pattern), new) for pattern, new in rules]

    def rename(name: str) -> str | None:
        for pattern, new in compiled:
            if found := pattern.match(name):
                return found.expand(new) + name[found.end() :]
        return None

    return rename


def within(block: str, official: str, rules: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Prepend a pattern for the start of a block's names, and its replacement, to rules for the rest."""
    groups = re.compile(block).groups
    shifted = [(p, re.sub(r"\\(\d)", lambda m: f"\\{int(m[1]) + groups}", new)) for p, new in rules]
    return tuple((block + pattern, official + new) for pattern, new in shifted)


def same(name: str) -> str:
    """Return the name unchanged."""
    return name


def head_fc(name: str) -> str:
    """Rename the head of mmpretrain's and timm's classifiers; return other names unchanged."""
    return re.sub(r"^head\.fc\.", "head.", name)


MM_EMBED = ((r"patch_embed\.projection\.", "patch_embed.proj."), (r"patch_embed\.norm\.", r"\g<0>"))
MM_FFN = ((r"ffn\.layers\.0\.0\.", "mlp.fc1."), (r"ffn\.layers\.1\.", "mlp.fc2."))
MM_BLOCK = (*MM_FFN, (r"ln([12])\.", r"norm\1."), (r"attn\.", "attn."))
"""Rules for mmpretrain's transformers: patch embedding, MLP and block."""

MM_HEAD = by((r"head\.fc\.", "head."))
"""Names outside the backbone in mmpretrain's classifiers."""


@dataclass(frozen=True)
class Layout:
    """Parameter names of a backbone, and of the modules around it, in a package.

    Attributes:
        name: The package and its model.
        backbone: Maps names inside the backbone, without their common prefix.
        beside: Maps names outside the backbone; None uses `Kind.mmpretrain`.
        prefix: Common prefix of the backbone's names; None for any prefix.
        unfolds: Whether inputs of patch merging are ordered as in mmcv's unfold, with the four neighbours of
            each channel adjacent, instead of neighbour by neighbour (M3).
    """

    name: str
    backbone: Rename = same
    beside: Rename | None = head_fc
    prefix: str | None = None
    unfolds: bool = False


@dataclass(frozen=True)
class Target:
    """Names of a backbone in a package that checkpoints can be converted to.

    Attributes:
        package: Name of the package, 'timm' or 'mmpretrain'.
        rename: Maps an official name inside the backbone, and the number of the last stage, to the package's
            name, or to None if its model lacks the parameter.
        prefix: Prefix of the backbone's names.
        head: Prefix of the names of a classifier's head.
        unfolds: See `Layout`.
        indices: Whether its model saves the indices of bias tables.
    """

    package: str
    rename: Callable[[str, int], str | None]
    prefix: str = ""
    head: str = "head.fc."
    unfolds: bool = False
    indices: bool = False


def unfold(tensor: Tensor) -> Tensor:
    """Reorder the inputs of patch merging (..., 4*C) from timm's order to mmcv's: the inverse of `refold`."""
    channels = tensor.unflatten(-1, (2, 2, -1))
    return channels.permute(*range(tensor.ndim - 1), -1, -2, -3).flatten(-3)


def refold(tensor: Tensor) -> Tensor:
    """Reorder the inputs of patch merging (..., 4*C) from mmcv's order to timm's (M3).

    mmcv unfolds: inputs 4*c to 4*c+3 are channel c of the neighbours (0,0), (0,1), (1,0), (1,1), as (row,
    column). timm concatenates all channels of the neighbours (0,0), (1,0), (0,1), (1,1).
    """
    neighbours = tensor.unflatten(-1, (-1, 2, 2))
    return neighbours.permute(*range(tensor.ndim - 1), -1, -2, -3).flatten(-3)
