"""Which data a result stands on: one hash per data set, by content and not by the folder's place."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mixmae_bench.errors import UserError


def data_hash(dataset: Mapping) -> str:
    """Return 16 hex digits that identify the data a resolved mmengine dataset config names.

    With an annotation file its content counts; without one, the sorted names of all files under the
    prefixes, relative to these; of the embedded digits, the version and settings that they are painted by.
    Wrappers (RepeatDataset) are looked through. `indices` and the pipeline, being the config's, do not count.

    Raises:
        UserError: Where the annotation file or a folder is missing, or a folder holds no file.
    """
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    root = Path(dataset.get("data_root") or ".")
    split = dataset.get("split") or ""
    prefix = dataset.get("data_prefix") or ""
    prefixes = [prefix] if isinstance(prefix, str) else [prefix[key] or "" for key in sorted(prefix)]
    annotations = dataset.get("ann_file")
    if split and not any(prefixes):  # as mmpretrain's ImageNet reads `split`
        prefixes = [split if (root / split).is_dir() else ""]
        if not annotations and (root / "meta" / f"{split}.txt").is_file():
            annotations = f"meta/{split}.txt"

    digest = hashlib.sha256(split.encode())
    painted = next((i for i, part in enumerate(root.parts) if part.startswith("digits-v")), None)
    if painted is not None:
        digest.update(repr([*root.parts[painted:], *prefixes, annotations or ""]).encode())
    elif annotations:
        digest.update(_content(root / annotations))
    else:
        for prefix in prefixes:
            for name in _names(root / prefix):
                digest.update(name.encode() + b"\0")
            digest.update(b"\0")
    return digest.hexdigest()[:16]


def _content(file: Path) -> bytes:
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()
    except OSError as error:
        raise UserError(
            f"data: annotation file {file} cannot be read ({error.strerror}); put it there"
        ) from error


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of the files under `folder`, relative to it and in one order, without hidden ones."""
    found = False
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()  # os.walk goes on in this order
        for name in sorted(files):
            if not name.startswith("."):
                found = True
                yield Path(parent, name).relative_to(folder).as_posix()
    if not found:
        raise UserError(f"data: {folder} does not exist or holds no file; put the data there")
