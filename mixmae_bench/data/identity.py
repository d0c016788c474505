"""What a data set is, as one hash: a result on other files is another result."""

import hashlib
import os
from pathlib import Path

from mmengine.config import ConfigDict


def data_hash(dataset: ConfigDict) -> str:
    """Return the first 16 hex digits of the SHA-256 of what a data set names.

    Its annotation file's content where it has one, else the names of all files in its folders. The pixels are
    not read: that would take hours.

    Args:
        dataset: Config of a data set that is there (see `config.find_data`); wrappers are looked into.
    """
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    root = Path(dataset.get("data_root") or ".")
    digest = hashlib.sha256()
    if dataset.get("ann_file"):
        digest.update((root / dataset["ann_file"]).read_bytes())
    else:
        prefix = dataset.get("data_prefix") or ""
        for folder in [prefix] if isinstance(prefix, str) else list(prefix.values()):
            for name in _files(root / folder):
                digest.update(f"{name}\n".encode())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> list[str]:
    names = []
    for parent, _, files in os.walk(folder):
        names += [os.path.relpath(os.path.join(parent, file), folder) for file in files]
    return sorted(names)
