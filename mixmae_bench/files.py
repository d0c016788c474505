"""Files that are written whole or not at all, in folders that can hold them."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from mixmae_bench.errors import UserError


def cache_folder() -> Path:
    """Return the folder of what can be made again: `$MIXMAE_BENCH_CACHE`, else `~/.cache/mixmae_bench`."""
    folder = os.environ.get("MIXMAE_BENCH_CACHE") or "~/.cache/mixmae_bench"
    return Path(folder).expanduser().absolute()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file, texts as UTF-8, so that readers see the old or the new content, never a part.

    Its folder is made where it is missing.

    Raises:
        UserError: Where it cannot be written; what was there before stays.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}; make room, or name another") from error


def check_writable(folder: Path) -> None:
    """Make a folder of runs where it is missing, and try it with a little more than an empty file.

    Raises:
        UserError: Where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be written to: {error.strerror}; give another with --work-dir"
        ) from error
