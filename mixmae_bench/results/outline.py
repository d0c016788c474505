"""What a suite is to run, as plain data: all that reports and tables know of a suite."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Models:
    """Configs whose FLOPs stand for a method: of pretraining (or None), and of its first transfer."""

    pretrain: Path | None
    transfer: Path


@dataclass(frozen=True)
class Outline:
    """A suite without its machinery.

    Attributes:
        name: Name of the suite.
        version: Its version.
        path: Its file.
        seeds: Seeds of every run.
        tasks: Tasks of every method, pretraining included, in the order of the file.
        datasets: Names of the data.
        models: Configs of every method.
    """

    name: str
    version: int
    path: Path
    seeds: tuple[int, ...]
    tasks: dict[str, tuple[str, ...]]
    datasets: frozenset[str]
    models: dict[str, Models]

    def run_names(self) -> list[str]:
        """Return the names of all runs, METHOD/seedN/TASK, seed by seed."""
        return [
            f"{method}/seed{seed}/{task}"
            for seed in self.seeds
            for method, tasks in self.tasks.items()
            for task in tasks
        ]
