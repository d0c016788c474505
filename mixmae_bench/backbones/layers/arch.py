"""Architectures by name, and what follows from their depth."""

import numpy as np


def named_arch(arch: str | dict, known: dict[str, dict]) -> dict:
    """Return an architecture by its name, or the one given.

    Raises:
        ValueError: Where the name is unknown.
    """
    if isinstance(arch, str) and arch not in known:
        raise ValueError(f"unknown arch '{arch}'; known: {', '.join(known)}")
    return known[arch] if isinstance(arch, str) else arch


def arch_name(arch: dict, known: dict[str, dict]) -> str | dict:
    """Return the name of an architecture, or the architecture where it has none.

    Args:
        arch: The architecture, or the part of it that is known.
        known: Architectures by name.
    """
    same = (name for name, other in known.items() if {key: other.get(key) for key in arch} == arch)
    return next(same, arch)


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Return the stochastic depth of every block: from 0 at the first, linearly, to `last`."""
    return np.linspace(0, last, num_blocks).tolist()


def flat_layer_depth(param_name: str, prefix: str, num_blocks: int) -> tuple[int, int]:
    """Return depth and number of depths of a parameter of an encoder with flat `blocks`.

    As the official util/lr_decay.py: block i has depth i + 1, its downsample too; what comes after the
    blocks has the head's depth.
    """
    num_depths = num_blocks + 2
    name = param_name.removeprefix(prefix)
    if not param_name.startswith(prefix):
        return num_depths - 1, num_depths
    if name.startswith(("patch_embed", "pos_embed")):
        return 0, num_depths
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1, num_depths
    return num_depths - 1, num_depths
