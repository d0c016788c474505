"""What happens to files that cannot be read: in training a counted, listed skip; elsewhere an error."""

from dataclasses import dataclass
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from mixmae_bench.errors import UserError

LEAST = 10
"""Unreadable files that any training set may have."""

SHARE = 0.001
"""Share of a training set that may be unreadable, where the config's `max_unreadable` does not say."""


@dataclass(frozen=True)
class CorruptImages:
    """A text file with a line `path: reason` per skipped file, which all processes of a run add to.

    Attributes:
        file: The list.
        limit: How many different lines it may have.
    """

    file: str
    limit: int

    def add(self, path: str, reason: str) -> None:
        """Note a file, once.

        Raises:
            UserError: Where that makes more than `limit`.
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
                "or raise max_unreadable (a share of the training set) in the config"
            )


class Loader(BaseTransform):
    """A transform that reads files.

    Args:
        skips: Arguments of the CorruptImages to use, which `datasets.checks` fills in for training sets;
            None, as for validation and test sets, makes a file that cannot be used an error.
    """

    def __init__(self, skips: dict | None = None) -> None:
        self.skips = CorruptImages(**skips) if skips else None

    def unusable(self, path: str, reason: str) -> None:
        """Note that a file cannot be used; a transform then returns None, and mmengine draws another sample.

        Raises:
            UserError: Where nothing may be skipped, or no more than has been.
        """
        if self.skips is None:
            raise UserError(f"data: {path} cannot be used: {reason}; repair or remove it")
        self.skips.add(path, reason)
