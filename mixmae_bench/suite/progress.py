"""Progress, lock and failure of a run, shared between processes through files in or beside its folder."""

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

FAILED = "failed"
"""File in a run's folder with the reason why its last attempt failed."""

SECONDS_BETWEEN_TOUCHES = 10.0

OLD = 120.0
"""Seconds after the last touch until a process of another machine counts as dead: several intervals, as
clocks of machines differ."""


def write_progress(file: Path, iteration: int, max_iters: int, text: str) -> None:
    """Write the progress of a run to `progress.json` in its folder."""
    write_atomically(file, json.dumps({"iter": iteration, "max_iters": max_iters, "text": text}))


def progress(folder: Path) -> tuple[float, str]:
    """Return the fraction of a run that is done, and a status text."""
    try:
        note = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0, "starting"
    share = note["iter"] / note["max_iters"]
    return share, f"{100 * share:.0f}% {note['text']}" if share < 1 else "evaluating"


@contextmanager
def try_lock(folder: Path) -> Iterator[bool]:
    """Lock a run for this process; yield False if another process has locked it.

    The operating system releases the lock when the process ends for any reason. A network file system must
    support locks across machines, as NFS 4 and Lustre with `flock` do.

    Raises:
        UserError: If the file system does not support locks.
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
            f"cannot lock {path}: {error.strerror}; give a writable folder on a file system with locks"
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
    """Return whether a process works on the run, judged by its owner file, without taking the lock.

    A process of this machine is looked up; a process of another machine counts as running until its file is
    older than `OLD`.
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
    """Keep a file beside a run's folder that names the process working on it; touch it at intervals."""
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
    """Return the scope of process IDs: the host name and the PID namespace (container)."""
    try:
        return f"{socket.gethostname()} {os.readlink(PROC / 'ns/pid')}"
    except OSError:
        return socket.gethostname()


def _began(pid: int) -> str | None:
    """Return the start time of a process in clock ticks since boot, or None if it has ended."""
    try:
        state, *fields = (PROC.parent / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


def _beside(folder: Path, kind: str) -> Path:
    # Beside the folder, as the folder is renamed if its run is stale.
    return folder.with_name(f".{folder.name}.{kind}")


def note_failure(folder: Path, reason: str | None) -> None:
    """Write the reason why a run failed to its folder, or remove it (None)."""
    if reason is None:
        (folder / FAILED).unlink(missing_ok=True)
    else:
        write_atomically(folder / FAILED, reason)


def failure(folder: Path) -> str | None:
    """Return the reason why the last attempt of a run failed, or None."""
    try:
        return (folder / FAILED).read_text(encoding="utf-8")
    except OSError:
        return None
