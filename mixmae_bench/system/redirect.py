"""Redirect the output of this process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def printing_into(file: Path) -> Iterator[None]:
    """Append stdout and stderr of this process, including output of C code, to a file."""
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
