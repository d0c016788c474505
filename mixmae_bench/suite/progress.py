"""How far a run is, told by its process to any other through files in its folder."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mixmae_bench.errors import UserError
from mixmae_bench.system.files import write_atomically

PROC = Path("/proc/self")

SECONDS_BETWEEN_TOUCHES = 10.0

OLD = 120.0
"""Seconds since the last touch from which a process of another machine is taken for dead: several touches, as
the clocks of machines differ."""


def write_progress(file: Path, iteration: int, max_iters: int, text: str) -> None:
    """Write how far a run is into `progress.json` of its folder."""
    write_atomically(file, json.dumps({"iter": iteration, "max_iters": max_iters, "text": text}))


def progress(folder: Path) -> tuple[float, str]:
    """Return the share of a run that is done, and its last words."""
    try:
        note = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0, "starting"
    share = note["iter"] / note["max_iters"]
    return share, f"{100 * share:.0f}% {note['text']}" if share < 1 else "evaluating"


@contextmanager
def try_lock(folder: Path) -> Iterator[bool]:
    """Hold a run for this process: yields False where another process holds it.

    The lock is the operating system's: it ends with the process, however that ends. (On a network file system
    it needs one that locks across machines, as NFS 4 and Lustre with `flock` do.)

    Raises:
        UserError: Where the file system cannot lock.
    """
    path = _beside(folder, "lock")
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        pass
    except OSError as error:
        raise UserError(
            f"{path} cannot be locked: {error.strerror}; give a folder that can be written to, on a file "
            "system with locks"
        ) from error
    if not lock.is_locked:
        yield False
        return
    try:
        with _owner_noted(folder):
            yield True
    finally:
        lock.release()


def is_running(folder: Path) -> bool:
    """Whether a process holds the run, as far as its note tells; takes no lock, so nobody is kept from it.

    A process of this machine is looked for; one of another machine is believed until its note is old.
    """
    note = _beside(folder, "owner")
    try:
        owner = json.loads(note.read_text(encoding="utf-8"))
        age = time.time() - note.stat().st_mtime
    except (OSError, ValueError):
        return False
    if owner["host"] == _host() and PROC.is_dir():
        return owner["began"] == _began(owner["pid"]) is not None
    return age < OLD


@contextmanager
def _owner_noted(folder: Path) -> Iterator[None]:
    """Keep a note beside a run's folder on the process that holds it, and touch it from time to time."""
    note = _beside(folder, "owner")
    pid = os.getpid()
    write_atomically(note, json.dumps({"host": _host(), "pid": pid, "began": _began(pid)}))
    ended = threading.Event()

    def touch() -> None:
        while not ended.wait(SECONDS_BETWEEN_TOUCHES):
            with suppress(OSError):
                os.utime(note)

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        note.unlink(missing_ok=True)


def _host() -> str:
    """Name what the numbers of processes belong to: a machine, and in it a container."""
    try:
        return f"{socket.gethostname()} {os.readlink(PROC / 'ns/pid')}"
    except OSError:
        return socket.gethostname()


def _began(pid: int) -> str | None:
    """Return when a process was started, in ticks since the machine was, or None where it has ended."""
    try:
        state, *fields = (PROC.parent / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


def _beside(folder: Path, kind: str) -> Path:
    # Beside the folder, which is renamed when its run is stale.
    return folder.with_name(f".{folder.name}.{kind}")


def note_failure(folder: Path, reason: str | None) -> None:
    """Leave a line on why a run failed, or (None) remove it."""
    if reason is None:
        (folder / "failed").unlink(missing_ok=True)
    else:
        write_atomically(folder / "failed", reason)


def failure(folder: Path) -> str | None:
    """Return the line on why the last run of a run failed, or None."""
    try:
        return (folder / "failed").read_text(encoding="utf-8")
    except OSError:
        return None
