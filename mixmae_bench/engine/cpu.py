"""What makes training on a CPU faster, and changes results by rounding at most."""

import ctypes
from contextlib import suppress

from mmengine.config import Config

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""


def speed_up(cfg: Config) -> None:
    """Prepare this process and a config for training on a CPU."""
    fuse_optimizer(cfg)
    keep_freed_memory()


def fuse_optimizer(cfg: Config) -> None:
    """Let Adam and AdamW take a step in one kernel, unless the config says how.

    PyTorch's default on a CPU is a loop over tensors, which takes a good part of a step of a small model.
    """
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer") or {}
    chosen = {"foreach", "fused", "capturable", "differentiable"} & optimizer.keys()
    if optimizer.get("type") in ("Adam", "AdamW") and not chosen:
        optimizer.fused = True


def keep_freed_memory() -> None:
    """Let glibc keep memory that tensors free, for those of the next iteration.

    By default it gives much of it back to the system and asks for it again in every iteration. Another C
    library is left as it is.
    """
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # the largest that glibc takes
        libc.mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
