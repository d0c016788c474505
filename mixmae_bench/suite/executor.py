"""Interface of executors, which run the jobs of a suite: local processes (`workers`) or Slurm (`cluster`)."""

from typing import Protocol

from mmengine.config import Config

from mixmae_bench.results.record import Record
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.slots import Slot


class Submitted(Protocol):
    """A submitted job."""

    def done(self) -> bool:
        """Whether the job has ended."""

    def result(self) -> Record | None:
        """Return the record, or None if another process works on this run; call once, after the job ended.

        Raises:
            ProcessDied: If the job's process died; the job may be submitted again.
            Exception: If the run failed.
        """


class Executor(Protocol):
    """Runs jobs, at most one in each slot at a time.

    Attributes:
        after_stop: Message about the jobs after the suite's process was stopped.
    """

    after_stop: str

    def slots(self, jobs: int | None) -> list[Slot]:
        """Return the slots for `jobs` concurrent jobs (None: as many as fit).

        Raises:
            UserError: If the machine has too few resources.
        """

    def processes(self, cfg: Config) -> int:
        """Return the number of processes that train a run of this config."""

    def submit(self, job: Job, slot: Slot) -> Submitted:
        """Start a job in a slot."""

    def stop(self) -> None:
        """End all jobs, except jobs that continue without this process."""
