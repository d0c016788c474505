"""Named architectures, stochastic depth rates and layer depths."""

import numpy as np


def named_arch(arch: str | dict, known: dict[str, dict]) -> dict:
    """Return the architecture of a name, or `arch` itself if it is a dict.

    Raises:
        ValueError: If the name is unknown.
    """
    if isinstance(arch, str) and arch not in known:
        raise ValueError(f"unknown arch '{arch}'; known: {', '.join(known)}")
    return known[arch] if isinstance(arch, str) else arch


def arch_name(arch: dict, known: dict[str, dict]) -> str | dict:
    """Return the name of an architecture, or the architecture if it has no name.

    Args:
        arch: The architecture; missing keys match any value.
        known: Architectures by name.
    """
    same = (name for name, other in known.items() if {key: other.get(key) for key in arch} == arch)
    return next(same, arch)


def drop_path_rates(last: float, num_blocks: int) -> list[float]:
    """Return the stochastic depth rate of every block, rising linearly from 0 to `last`."""
    return np.linspace(0, last, num_blocks).tolist()


def flat_layer_depth(param_name: str, prefix: str, num_blocks: int) -> tuple[int, int]:
    """Return the depth of a parameter and the number of depths, for an encoder with flat `blocks`.

    As in the official util/lr_decay.py, block i and its downsample have depth i + 1, and parameters after the
    blocks have the depth of the head.
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
