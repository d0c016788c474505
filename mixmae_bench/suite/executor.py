"""What runs the jobs of a suite: processes of this machine (`workers`) or jobs of submitit (`cluster`)."""

from typing import Protocol

from mmengine.config import Config

from mixmae_bench.results.record import Record
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.slots import Slot


class Submitted(Protocol):
    """A job that was submitted."""

    def done(self) -> bool:
        """Whether it has ended."""

    def result(self) -> Record | None:
        """Return the record, or None where another suite's process is at this run; once, after the end.

        Raises:
            ProcessDied: Where its process died: it may be submitted again.
            Exception: Why the run failed.
        """


class Executor(Protocol):
    """Runs jobs, at most one in each slot at a time.

    Attributes:
        after_stop: What to say of the jobs once the suite's process was stopped.
    """

    after_stop: str

    def slots(self, jobs: int | None) -> list[Slot]:
        """Return the slots for so many jobs side by side (None: as many as fit).

        Raises:
            UserError: Where there is no room for so many.
        """

    def processes(self, cfg: Config) -> int:
        """Return how many processes train a run of this config together."""

    def submit(self, job: Job, slot: Slot) -> Submitted:
        """Start a job in a slot."""

    def stop(self) -> None:
        """End all jobs, or leave those alone that go on without this process."""
