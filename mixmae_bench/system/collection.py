"""Faster imports of large packages."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Pause garbage collection while packages are imported; usable as a decorator.

    PyTorch and the OpenMMLab packages make millions of objects that all stay. Searching them for garbage
    again and again takes a quarter of the time of importing them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
