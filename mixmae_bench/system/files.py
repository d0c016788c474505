"""Atomic writes of files, and checks that folders are writable."""

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from mixmae_bench.errors import UserError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.part")
"""Pattern of the names of temporary files."""

LEFT_OVER = 24 * 3600
"""Age in seconds from which a temporary file counts as left over by a killed process."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` to write to, then flush the file and rename it to
    `path`.

    Readers see either the old or the new content, also after a power failure. The temporary name is unique
    across hosts. If the writer raises, `path` is unchanged and the temporary file is removed. Temporary files
    of killed processes in the folder are removed after a day.
    """
    remove_leftovers(path.parent, LEFT_OVER)
    with _renamed(path) as temporary:
        yield temporary
        _flush(temporary)
    _flush(path.parent)


def cache_folder() -> Path:
    """Return the cache folder: `$MIXMAE_BENCH_CACHE`, or `~/.cache/mixmae_bench`."""
    folder = os.environ.get("MIXMAE_BENCH_CACHE") or "~/.cache/mixmae_bench"
    return Path(folder).expanduser().absolute()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file (strings as UTF-8), so that readers see either the old or the new content.

    The folder is created if it is missing.

    Raises:
        UserError: If the file cannot be written; an existing file is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _renamed(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; free disk space or give another path"
        ) from error


def remove_leftovers(folder: Path, age: float) -> None:
    """Remove this module's temporary files in a folder that are at least `age` seconds old."""
    for file in folder.glob(".*.part"):
        with suppress(OSError):
            if TEMPORARY.fullmatch(file.name) and time.time() - file.stat().st_mtime >= age:
                file.unlink()


def check_writable(folder: Path, remedy: str = "give another with --work-dir") -> None:
    """Create a folder if it is missing, and test it by writing a small temporary file.

    Args:
        folder: The folder.
        remedy: What to do if it fails, for the message.

    Raises:
        UserError: If the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise UserError(f"folder {folder} cannot be written to: {error.strerror}; {remedy}") from error


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    if path.is_dir():  # also '.', which has no name
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
