"""Handling of corrupt images: training skips, counts and lists them; validation and test raise an error."""

from dataclasses import dataclass
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from mixmae_bench.errors import UserError

LEAST = 10
"""Number of corrupt files that every training set may have."""

SHARE = 0.001
"""Fraction of a training set that may be corrupt; default of the config's `max_corrupt_images`."""


@dataclass(frozen=True)
class CorruptImages:
    """A list of skipped files that all processes of a run append to, one line `path: reason` per file.

    Attributes:
        file: The list, a text file.
        limit: Maximum number of different lines.
    """

    file: str
    limit: int

    def add(self, path: str, reason: str) -> None:
        """Add a file to the list unless it is there.

        Raises:
            UserError: If the list then has more than `limit` lines.
        """
        file, line = Path(self.file), f"{path}: {reason}"
        known = set(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else set()
        if line not in known:
            known.add(line)
            with open(file, "a", encoding="utf-8") as opened:  # one short write: lines stay whole
                opened.write(f"{line}\n")
            if len(known) <= LEAST:
                print_log(f"skipped {line} ({len(known)} so far, see {file})", "current")
        if len(known) > self.limit:
            raise UserError(
                f"data: more than {self.limit} files cannot be used; see {file}, repair them, "
                "or raise max_corrupt_images (a share of the training set) in the config"
            )


class Loader(BaseTransform):
    """Base class of transforms that read files.

    Args:
        skips: Arguments of CorruptImages, set by `datasets.checks` for training sets. If None, as in
            validation and test, a corrupt file is an error.
    """

    def __init__(self, skips: dict | None = None) -> None:
        self.skips = CorruptImages(**skips) if skips else None

    def unusable(self, path: str, reason: str) -> None:
        """Record a corrupt file. The transform then returns None, and mmengine draws another sample.

        Raises:
            UserError: If files may not be skipped, or too many were skipped.
        """
        if self.skips is None:
            raise UserError(f"data: {path} cannot be used: {reason}; repair or remove it")
        self.skips.add(path, reason)
