"""Hashes that identify the data and weights of a result by content, not by path; cached between commands."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mixmae_bench.datasets.digits import settings_of
from mixmae_bench.datasets.leaves import wrapped
from mixmae_bench.errors import UserError
from mixmae_bench.system.files import cache_folder, write_atomically

CACHE = "hashes.json"
"""File in the cache folder: hashes, each with the sizes and times of the files it was computed from."""

SECONDS_TO_SETTLE = 2
"""Hashes of files changed less than this ago are not cached: a second change may get the same time stamp."""

Stamp = list[int]
"""Size in bytes (0 for a folder), mtime and ctime in nanoseconds."""

Listing = tuple[bytes, dict[str, Stamp]]
"""Names of the files under a folder, and the stamps of all folders."""


def data_hash(dataset: Mapping, listings: dict[str, Listing] | None = None) -> str:
    """Return 16 hex digits that identify the data of a resolved mmengine dataset config.

    With an annotation file, its content is hashed; without one, the sorted names of all files under the
    prefixes, relative to them. For the embedded digits, the settings that the set depends on are hashed.
    Wrappers (RepeatDataset, ConcatDataset) are unwrapped. `indices` and the pipeline are not part of the
    hash, as the hash of the config covers them.

    The hash is cached until the annotation file, or a folder below the prefixes, changes.

    Args:
        dataset: The config.
        listings: Cache of listed folders by path, filled here. Pass the same dict when hashing several data
            sets.

    Raises:
        UserError: If the annotation file or a folder is missing, or a folder contains no file.
    """
    listings = {} if listings is None else listings
    if inside := wrapped(dataset):
        parts = [data_hash(part, listings) for part in inside.values()]
        return parts[0] if "dataset" in inside else join_hashes(parts)
    root = Path(dataset.get("data_root") or ".")
    split = dataset.get("split") or ""
    prefix = dataset.get("data_prefix") or ""
    prefixes = [prefix] if isinstance(prefix, str) else [prefix[key] or "" for key in sorted(prefix)]
    annotations = dataset.get("ann_file")
    if split and not any(prefixes):  # as mmpretrain's ImageNet reads `split`
        prefixes = [split if (root / split).is_dir() else ""]
        if not annotations and (root / "meta" / f"{split}.txt").is_file():
            annotations = f"meta/{split}.txt"

    painted = next((i for i, part in enumerate(root.parts) if part.startswith("digits-v")), None)
    if painted is not None:
        inside = root.parts[painted + 1 :]
        own = [*inside, split, *prefixes, annotations or ""]
        tasks = {parts[0] for name in own[len(inside) :] if (parts := Path(*inside, name).parts)}
        settings = settings_of(Path(*root.parts[: painted + 1]), tasks)
        return hashlib.sha256(json.dumps([settings, own]).encode()).hexdigest()[:16]
    paths = [root / annotations] if annotations else [root / prefix for prefix in prefixes]
    request = ["data", split, *(str(path.absolute()) for path in paths)]
    if annotations:
        return _remembered(request, lambda: _of_annotations(split, paths[0]))
    return _remembered(request, lambda: _of_names(split, paths, listings))


def join_hashes(hashes: Iterable[str]) -> str:
    """Return one hash of several, in their order."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """Return the first 16 hex digits of a file's SHA-256, cached until the file changes."""

    def compute() -> tuple[str, dict[str, Stamp]]:
        stamp = _stamp(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16], {str(path.absolute()): stamp}

    return _remembered(["file", str(path.absolute())], compute)


def _of_annotations(split: str, file: Path) -> tuple[str, dict[str, Stamp]]:
    try:
        stamp = _stamp(file)
        with open(file, "rb") as opened:
            content = hashlib.file_digest(opened, "sha256").digest()
    except OSError as error:
        raise UserError(
            f"data: annotation file {file} cannot be read ({error.strerror}); put it there"
        ) from error
    return hashlib.sha256(split.encode() + content).hexdigest()[:16], {str(file.absolute()): stamp}


def _of_names(split: str, folders: list[Path], listings: dict[str, Listing]) -> tuple[str, dict[str, Stamp]]:
    digest, stamps = hashlib.sha256(split.encode()), {}
    for folder in folders:
        path = str(folder.absolute())
        if path not in listings:
            listings[path] = _list(path)
        names, own = listings[path]
        digest.update(names)
        digest.update(b"\0")
        stamps |= own
    return digest.hexdigest()[:16], stamps


def _list(folder: str) -> Listing:
    """Return the names of the files under `folder`, and the stamps of all folders.

    Names are relative to `folder`, sorted, without hidden files, each followed by a zero byte.
    """
    names: list[bytes] = []
    stamps = {}
    for parent, folders, files in _tree(folder, stamps):
        folders.sort()  # os.walk continues in this order
        inside = os.path.relpath(parent, folder).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        names += [os.fsencode(f"{prefix}{name}") for name in sorted(files) if not name.startswith(".")]
    if not names:
        raise UserError(f"data: {folder} does not exist or contains no file; put the data there")
    return b"".join(name + b"\0" for name in names), stamps


def _tree(folder: str, stamps: dict[str, Stamp]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk like os.walk, following links, and record the stamp of every folder before it is listed."""
    if os.path.isdir(folder):
        stamps[folder] = _stamp(Path(folder))
    for parent, folders, files in os.walk(folder, followlinks=True):
        for name in folders:
            path = os.path.join(parent, name)
            stamps[path] = _stamp(Path(path))
        yield parent, folders, files


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    # A folder's size is left out: it differs between file systems and adds nothing to the times.
    return [0 if path.is_dir() else found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _remembered(request: list[str], compute: Callable[[], tuple[str, dict[str, Stamp]]]) -> str:
    """Return a hash from the cache if its files are unchanged, else compute it."""
    name = json.dumps(request)
    known = _read_cache().get(name)
    if known and all(_is_unchanged(path, stamp) for path, stamp in known["stamps"].items()):
        return known["hash"]
    digest, stamps = compute()
    settled = time.time_ns() - SECONDS_TO_SETTLE * 10**9
    if all(max(stamp[1:]) < settled for stamp in stamps.values()):
        cache = {**_read_cache(), name: {"hash": digest, "stamps": stamps}}
        with suppress(UserError):  # works without a cache, only slower
            write_atomically(cache_folder() / CACHE, json.dumps(cache))
    return digest


def _is_unchanged(path: str, stamp: Stamp) -> bool:
    try:
        return _stamp(Path(path)) == stamp
    except OSError:
        return False


def _read_cache() -> dict[str, dict]:
    try:
        content = json.loads((cache_folder() / CACHE).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
