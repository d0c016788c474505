"""A suite as plain data, for reports and tables."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Models:
    """Configs for the FLOPs of a method: its pretraining (or None) and its first transfer task."""

    pretrain: Path | None
    transfer: Path


@dataclass(frozen=True)
class Outline:
    """The runs of a suite.

    Attributes:
        name: Name of the suite.
        version: Version of the suite.
        path: File of the suite.
        seeds: Seeds of every method and task.
        tasks: Tasks by method, pretraining included, in the order of the file.
        datasets: Names of the data sets.
        models: Configs by method.
        grids: Points of the tuning by task, in the grid's order: values by setting. Empty without tuning.
    """

    name: str
    version: int
    path: Path
    seeds: tuple[int, ...]
    tasks: dict[str, tuple[str, ...]]
    datasets: frozenset[str]
    models: dict[str, Models]
    grids: dict[str, tuple[dict[str, float], ...]] = field(default_factory=dict)

    def run_names(self) -> list[str]:
        """Return the names of all runs, METHOD/seedN/TASK, seed by seed."""
        return [
            f"{method}/seed{seed}/{task}"
            for seed in self.seeds
            for method, tasks in self.tasks.items()
            for task in tasks
        ]

    def tuning_runs(self) -> int:
        """Return the number of tuning runs, pretraining not counted."""
        return sum(len(self.grids.get(task, ())) for tasks in self.tasks.values() for task in tasks)
