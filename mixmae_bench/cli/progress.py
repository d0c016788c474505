"""Lines on stderr about the progress of long commands."""

import sys
import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 10.0
"""Least time between two lines about images."""


def tell(line: str) -> None:
    """Print a line about the progress on stderr."""
    print(line, file=sys.stderr, flush=True)


def image_lines(what: str) -> Callable[[str, int, int], None]:
    """Return a function that prints the number of images that are done, now and then.

    Args:
        what: Start of the lines, with {} for the first argument of the function.
    """
    clock: dict[str, float] = {}
    last = {"line": 0.0}

    def progress(name: str, done: int, total: int) -> None:
        now = time.monotonic()
        clock.setdefault(name, now)
        if done == total or now - last["line"] >= SECONDS_BETWEEN_LINES:
            last["line"] = now
            tell(f"{what.format(name)}: {done}/{total}{left(now - clock[name], done, total)}")

    return progress


def left(seconds: float, done: int, total: int) -> str:
    """Return the time left as the end of a line; empty at the end."""
    from mixmae_bench.report.summary import duration

    return "" if done == total else f", {duration(seconds / done * (total - done))} left"
