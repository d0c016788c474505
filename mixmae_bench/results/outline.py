"""A suite as plain data, for reports and tables."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mixmae_bench.results.record import Record

PRETRAINING = "pretraining"
"""The task of records of pretraining; all other tasks are transfers."""


@dataclass(frozen=True)
class OutlinedTask:
    """A task of a method.

    Attributes:
        name: 'pretraining' or the name of a transfer task.
        dataset: Name of its data set.
        config: Its config.
        metrics: Names of its metrics, as the suite states them; empty if it does not.
    """

    name: str
    dataset: str
    config: Path
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class OutlinedMethod:
    """A method of a suite.

    Attributes:
        tasks: Its tasks, pretraining included, in the order of the file.
        family: Name that the sizes of one method share; plots join them with a line.
        pretrained_by: Config of the pretraining of its initial weights, or None if random or unknown.
    """

    tasks: tuple[OutlinedTask, ...]
    family: str
    pretrained_by: Path | None = None


@dataclass(frozen=True)
class Outline:
    """The runs of a suite.

    Attributes:
        name: Name of the suite.
        version: Version of the suite.
        path: File of the suite, or None if it is only known from its records.
        seeds: Seeds of every method and task.
        methods: Methods by name, in the order of the file.
        grids: Points of the tuning by task, in the grid's order: values by setting. Empty without tuning.
    """

    name: str
    version: int
    path: Path | None
    seeds: tuple[int, ...]
    methods: dict[str, OutlinedMethod]
    grids: dict[str, tuple[dict[str, float], ...]] = field(default_factory=dict)

    def run_names(self) -> list[str]:
        """Return the names of all runs, METHOD/seedN/TASK, seed by seed."""
        return [
            f"{name}/seed{seed}/{task.name}"
            for seed in self.seeds
            for name, method in self.methods.items()
            for task in method.tasks
        ]

    def tuning_runs(self) -> int:
        """Return the number of tuning runs, pretraining not counted."""
        tasks = (task for method in self.methods.values() for task in method.tasks)
        return sum(len(self.grids.get(task.name, ())) for task in tasks)

    def family(self, method: str) -> str:
        """Return the family of a method: its name if the suite has no such method."""
        return self.methods[method].family if method in self.methods else method


def outline_of(records: Iterable[Record]) -> Outline:
    """Return what the records of one suite tell about it; the seeds are those with a record."""
    records = sorted(records, key=lambda r: (r.method != "scratch", r.method, r.task != PRETRAINING, r.task))
    tasks: dict[str, dict[str, OutlinedTask]] = {}
    for r in records:
        task = OutlinedTask(r.task, r.dataset, Path(r.config), tuple(r.metrics))
        tasks.setdefault(r.method, {})[r.task] = task
    return Outline(
        records[0].suite,
        records[0].suite_version,
        None,
        tuple(sorted({r.seed for r in records})),
        {name: OutlinedMethod(tuple(own.values()), name) for name, own in tasks.items()},
    )
