"""Job (a run with everything needed to execute it) and the checkpoints in a run's folder."""

from dataclasses import dataclass
from pathlib import Path

from mixmae_bench.engine.resume import intact
from mixmae_bench.errors import ProcessDied
from mixmae_bench.suite.plan import Plan


@dataclass(frozen=True)
class Job:
    """A run with everything needed to execute it in any process.

    Attributes:
        suite: Name of the suite.
        suite_file: File of the suite.
        suite_version: Version of the suite.
        dataset: Name of the data set.
        plan: Plan of the run.
        folder: Output folder of the run.
        records: File that the record is appended to.
        parent: Folder of the run to start from, or None.
        threads: Number of CPU threads for torch.
        rescale: Whether to scale learning rates to the effective batch size (see `batch.fit_lr`).
        trackers: Names of experiment trackers to log to (see `trackers.track`).
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
    """Return the last checkpoint of the run in `folder`, or None if it is missing or damaged."""
    path = _noted_checkpoint(folder)
    return path if path and intact(path) else None


def has_checkpoint(folder: Path) -> bool:
    """Return whether the last checkpoint of the run in `folder` exists, without reading it."""
    path = _noted_checkpoint(folder)
    return path is not None and path.is_file()


def _noted_checkpoint(folder: Path) -> Path | None:
    last = folder / "last_checkpoint"
    if not last.is_file():
        return None
    # The file contains an absolute path, but the folder may have been moved.
    return folder / Path(last.read_text(encoding="utf-8").strip()).name


class RunFailed(Exception):
    """A run failed in another process; the message is the reason."""


def reason(error: Exception) -> str:
    """Return the reason of a failure in one line."""
    kind = "" if isinstance(error, RunFailed | ProcessDied) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:300]
