"""Names of the same parameters in other packages, each brought to the official ones."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Rename = Callable[[str], str | None]
"""Returns the official name of a parameter, or None where a package has no such name."""


def by(*rules: tuple[str, str]) -> Rename:
    """Rename by the first regular expression that fits the beginning of a name; other names are unknown."""
    compiled = [(re.compile(pattern), new) for pattern, new in rules]

    def rename(name: str) -> str | None:
        for pattern, new in compiled:
            if found := pattern.match(name):
                return found.expand(new) + name[found.end() :]
        return None

    return rename


def within(block: str, official: str, rules: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Put the beginning of a block's names, with groups for `official`, before rules for the rest."""
    groups = re.compile(block).groups
    shifted = [(p, re.sub(r"\\(\d)", lambda m: f"\\{int(m[1]) + groups}", new)) for p, new in rules]
    return tuple((block + pattern, official + new) for pattern, new in shifted)


def same(name: str) -> str:
    """Keep a name."""
    return name


def head_fc(name: str) -> str:
    """Rename the head of a classifier in mmpretrain and timm, and keep other names."""
    return re.sub(r"^head\.fc\.", "head.", name)


MM_EMBED = ((r"patch_embed\.projection\.", "patch_embed.proj."), (r"patch_embed\.norm\.", r"\g<0>"))
MM_FFN = ((r"ffn\.layers\.0\.0\.", "mlp.fc1."), (r"ffn\.layers\.1\.", "mlp.fc2."))
MM_BLOCK = (*MM_FFN, (r"ln([12])\.", r"norm\1."), (r"attn\.", "attn."))
"""Rules of mmpretrain's transformers: patch embedding, MLP, and block."""

MM_HEAD = by((r"head\.fc\.", "head."))
"""Names of what is not the backbone in mmpretrain's classifiers."""


@dataclass(frozen=True)
class Layout:
    """A way to name the parameters of a backbone, and of what stands around it.

    Attributes:
        name: The package, with its model.
        backbone: Names within the backbone, without what is in front of all of them.
        beside: Names of what is not the backbone; None for those of the kind (`Kind.mmpretrain`).
        prefix: What is in front of the backbone's names; None where that may be anything.
        unfolds: Whether patch merging takes its four neighbours channel by channel, as mmcv's unfold, instead
            of neighbour by neighbour (M3).
    """

    name: str
    backbone: Rename = same
    beside: Rename | None = head_fc
    prefix: str | None = None
    unfolds: bool = False


def refold(tensor: Tensor) -> Tensor:
    """Reorder the inputs of patch merging (..., 4*C) from mmcv's order to timm's (M3).

    mmcv unfolds: channel c of the neighbours (row, column) in the order (0,0), (0,1), (1,0), (1,1) lies at
    4*c ... 4*c+3. timm concatenates the neighbours (0,0), (1,0), (0,1), (1,1), all channels of each.
    """
    neighbours = tensor.unflatten(-1, (-1, 2, 2))
    return neighbours.permute(*range(tensor.ndim - 1), -1, -2, -3).flatten(-3)
