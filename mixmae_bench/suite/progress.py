"""How far a cell is, told by its process to any other through files in its folder."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mixmae_bench.files import write_atomically


def write_progress(file: Path, iteration: int, max_iters: int, text: str) -> None:
    """Write how far a run is into `progress.json` of its folder."""
    write_atomically(file, json.dumps({"iter": iteration, "max_iters": max_iters, "text": text}))


def progress(folder: Path) -> tuple[float, str]:
    """Return the share of a cell that is done, and its last words."""
    try:
        note = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0, "starting"
    share = note["iter"] / note["max_iters"]
    return share, f"{100 * share:.0f}% {note['text']}" if share < 1 else "evaluating"


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a cell for this process: yields False where another process holds it.

    The lock is the operating system's: it ends with the process, however that ends. (On a network file system
    it needs one that locks across machines, as NFS 4 and Lustre with `flock` do.)
    """
    path = _lock(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def is_running(folder: Path) -> bool:
    """Whether a process holds the cell."""
    if not _lock(folder).is_file():
        return False
    with held(folder) as free:
        return not free


def _lock(folder: Path) -> Path:
    # Beside the folder, which is renamed when its run is stale.
    return folder.with_name(f".{folder.name}.lock")


def note_failure(folder: Path, reason: str | None) -> None:
    """Leave a line on why a cell failed, or (None) remove it."""
    if reason is None:
        (folder / "failed").unlink(missing_ok=True)
    else:
        write_atomically(folder / "failed", reason)


def failure(folder: Path) -> str | None:
    """Return the line on why the last run of a cell failed, or None."""
    try:
        return (folder / "failed").read_text(encoding="utf-8")
    except OSError:
        return None
