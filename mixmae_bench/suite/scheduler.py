"""Which run of a suite is started when, in which slot, and what became of each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mixmae_bench.errors import ProcessDied
from mixmae_bench.results.record import Record
from mixmae_bench.suite.executor import Executor, Submitted
from mixmae_bench.suite.job import Job, reason
from mixmae_bench.suite.plan import Plan
from mixmae_bench.suite.progress import note_failure, progress
from mixmae_bench.suite.slots import Slot
from mixmae_bench.suite.spec import PRETRAINING

SECONDS_BETWEEN_TRIES = 5.0
"""Before a run is tried again that another suite's process is at."""

DEATHS = 2
"""A run whose process died is run again, as it may not have been its fault, until this many times."""

WAITING, ELSEWHERE, RUNNING, DONE, FAILED = "waiting", "elsewhere", "running", "done", "failed"


@dataclass
class ScheduledRun:
    """Where a run stands.

    Attributes:
        plan: What to run.
        state: WAITING for a slot or for the run that it starts from; ELSEWHERE: waiting until another suite's
            process is done with it; RUNNING, DONE or FAILED.
        why: Why it failed, or, while it waits, why its process died.
        record: What it left, once it is done.
        deaths: How often its process has died.
        slot, submitted: While it is running.
        began: When it was started last, in seconds of `time.monotonic`.
        took: Seconds from its last start to its end, once it is done.
        next_try: When to try again, where it is elsewhere.
    """

    plan: Plan
    state: str = WAITING
    why: str = ""
    record: Record | None = None
    deaths: int = 0
    slot: Slot | None = None
    submitted: Submitted | None = None
    began: float = 0.0
    took: float = 0.0
    next_try: float = 0.0

    @property
    def name(self) -> str:
        """Name of its run."""
        return self.plan.run.name


class Scheduler:
    """Runs what is to be run, each in a slot of its own, once what it starts from is done.

    Args:
        todo: The plans by name.
        slots: Room for what runs side by side.
        executor: What runs the jobs.
        job_of: Makes the job of a plan in a slot.
        minutes: How long a run of each task is expected to take, as the suite says.
        work_dir: Folder of all results.
    """

    def __init__(
        self,
        todo: dict[str, Plan],
        slots: list[Slot],
        executor: Executor,
        job_of: Callable[[Plan, Slot], Job],
        minutes: dict[str, float],
        work_dir: Path,
    ) -> None:
        # Pretraining first, as others wait for it; then the longest first, so that the last ones are short.
        ordered = sorted(
            todo.values(), key=lambda p: (p.run.task != PRETRAINING, -minutes.get(p.run.task, 1))
        )
        self.runs = {planned.run.name: ScheduledRun(planned) for planned in ordered}
        self._slots = slots
        self._free = list(reversed(slots))  # the slot that was used last has a warm process
        self._executor = executor
        self._job_of = job_of
        self._minutes = minutes
        self._work_dir = work_dir

    def of(self, *states: str) -> list[ScheduledRun]:
        """Return the runs in some states."""
        return [run for run in self.runs.values() if run.state in states]

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return not self.of(WAITING, ELSEWHERE, RUNNING)

    def step(self) -> list[ScheduledRun]:
        """Start what can start; return the runs that since the last step are done, have failed, or died."""
        changed = self._give_up() + [run for run in self.of(RUNNING) if run.submitted.done()]
        for run in changed:
            if run.state == RUNNING:
                self._conclude(run)
        now = time.monotonic()
        for run in self.of(WAITING) + [run for run in self.of(ELSEWHERE) if run.next_try <= now]:
            if self._free and self._parent_state(run) in (None, DONE):
                run.slot = self._free.pop()
                run.state, run.began = RUNNING, now
                run.submitted = self._executor.submit(self._job_of(run.plan, run.slot), run.slot)
        return [run for run in changed if run.state != ELSEWHERE]

    def stop(self) -> None:
        """End what is running, and give all slots back."""
        self._executor.stop()
        for slot in self._slots:
            slot.release()

    def estimate(self) -> tuple[float, float]:
        """Return the share of the work that is done, and the seconds left.

        A run is expected to take as long as those of its task that are done did, or the suite's `minutes`.
        """
        took: dict[str, list[float]] = {}
        for run in self.of(DONE):
            took.setdefault(run.plan.run.task, []).append(run.took)
        total = left = 0.0
        for run in self.runs.values():
            task = run.plan.run.task
            expected = sum(took[task]) / len(took[task]) if task in took else 60 * self._minutes.get(task, 1)
            share = progress(self._work_dir / run.name)[0] if run.state == RUNNING else 0.0
            if share > 0.1:  # enough of this run to know its pace
                expected = (time.monotonic() - run.began) / share
            total += expected
            if run.state not in (DONE, FAILED):
                left += expected * (1 - share)
        open_runs = len(self.of(WAITING, ELSEWHERE, RUNNING))
        return 1 - left / total, left / min(len(self._slots), max(1, open_runs))

    def _parent_state(self, run: ScheduledRun) -> str | None:
        """Return where the run stands that this one starts from, or None where it waits for none."""
        parent = self.runs.get(run.plan.run.parent)
        return parent and parent.state

    def _give_up(self) -> list[ScheduledRun]:
        """Fail the runs that wait for one that has failed; return them."""
        hopeless = [run for run in self.of(WAITING, ELSEWHERE) if self._parent_state(run) == FAILED]
        for run in hopeless:
            run.state, run.why = FAILED, f"{run.plan.run.parent} failed"
        return hopeless

    def _conclude(self, run: ScheduledRun) -> None:
        """Note what became of a run whose job has ended, and free its slot."""
        try:
            run.record = run.submitted.result()
            run.state = DONE if run.record else ELSEWHERE
        except ProcessDied as error:
            run.deaths += 1
            run.state, run.why = WAITING, str(error)
            if run.deaths == DEATHS:
                run.state, run.why = FAILED, f"{error}, {run.deaths} times"
                note_failure(self._work_dir / run.name, run.why)
        except Exception as error:
            run.state, run.why = FAILED, reason(error)
        now = time.monotonic()
        run.took, run.next_try = now - run.began, now + SECONDS_BETWEEN_TRIES
        self._free.append(run.slot)
        run.slot = run.submitted = None
