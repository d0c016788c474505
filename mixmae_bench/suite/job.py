"""A run with all that is needed to run it, and what its folder holds."""

from dataclasses import dataclass
from pathlib import Path

from mixmae_bench.engine.resume import intact
from mixmae_bench.errors import ProcessDied
from mixmae_bench.suite.plan import Plan


@dataclass(frozen=True)
class Job:
    """A run with all that is needed to run it anywhere.

    Attributes:
        suite: Name of the suite.
        suite_file: Its file.
        suite_version: Version of the suite.
        dataset: Name of the data.
        plan: What to run.
        folder: Where the run writes.
        records: File that the record is appended to.
        parent: Folder of the pretraining run to start from, or None.
        threads: CPU threads for torch.
        rescale: Whether to scale learning rates to the effective batch (see `batch.fit_lr`).
        trackers: Names of what the run also logs to (see `trackers.track`).
    """

    suite: str
    suite_file: Path
    suite_version: int
    dataset: str
    plan: Plan
    folder: Path
    records: Path
    parent: Path | None
    threads: int
    rescale: bool
    trackers: tuple[str, ...]


def final_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint of the run in `folder`, or None where there is none or it is damaged."""
    path = _noted_checkpoint(folder)
    return path if path and intact(path) else None


def has_checkpoint(folder: Path) -> bool:
    """Whether the last checkpoint of the run in `folder` is there; it is not read."""
    path = _noted_checkpoint(folder)
    return path is not None and path.is_file()


def _noted_checkpoint(folder: Path) -> Path | None:
    last = folder / "last_checkpoint"
    if not last.is_file():
        return None
    # The note holds an absolute path; the folder may have been moved since.
    return folder / Path(last.read_text(encoding="utf-8").strip()).name


class RunFailed(Exception):
    """A run failed in a process that left only the reason, which is the message."""


def reason(error: Exception) -> str:
    """Return what to say of a failure in one line."""
    kind = "" if isinstance(error, RunFailed | ProcessDied) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:300]
