"""Where this process prints."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def printing_into(file: Path) -> Iterator[None]:
    """Send everything that this process prints, C code included, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with open(file, "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for own, number in zip(kept, (1, 2), strict=True):
            os.dup2(own, number)
            os.close(own)
