"""Settings for faster training on CPUs; they change results by rounding errors at most."""

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
    """Use the fused kernels of Adam and AdamW, unless the config selects an implementation.

    PyTorch's default on a CPU loops over the tensors, which takes a large part of a small model's step. On a
    GPU, a fused step is a few kernels.
    """
    optimizer = (cfg.get("optim_wrapper") or {}).get("optimizer") or {}
    chosen = {"foreach", "fused", "capturable", "differentiable"} & optimizer.keys()
    if optimizer.get("type") in ("Adam", "AdamW") and not chosen:
        optimizer.fused = True


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next iteration.

    By default, glibc returns much of it to the system and requests it again in every iteration. Other C
    libraries are not changed.
    """
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)  # glibc's maximum
        libc.mallopt(M_TRIM_THRESHOLD, 512 * 2**20)
