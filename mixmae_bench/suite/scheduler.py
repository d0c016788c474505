"""Scheduler: decides when and in which slot each run of a suite starts, and tracks its state."""

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
"""Interval between attempts to start a run that another process works on."""

DEATHS = 2
"""Number of times that a run's process may die before the run counts as failed."""

WAITING, ELSEWHERE, RUNNING, DONE, FAILED = "waiting", "elsewhere", "running", "done", "failed"


@dataclass
class ScheduledRun:
    """State of a run in the scheduler.

    Attributes:
        plan: Plan of the run.
        state: WAITING (for a slot or for its parent run), ELSEWHERE (another process works on it), RUNNING,
            DONE or FAILED.
        why: Reason of the failure, or, while WAITING, why its process died.
        record: Its record, once DONE.
        deaths: Number of times its process has died.
        slot, submitted: Its slot and its job, while RUNNING.
        began: Time of its last start, from `time.monotonic`.
        took: Seconds from its last start to its end, once DONE.
        next_try: Time of the next attempt, while ELSEWHERE.
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
        """Name of the run."""
        return self.plan.run.name


class Scheduler:
    """Starts runs in free slots, each once its parent run is done.

    Args:
        todo: Plans of the runs by name.
        slots: One slot per concurrent run.
        executor: Executor of the jobs.
        job_of: Function that creates the job of a plan in a slot.
        minutes: Expected duration of a run by task, from the suite file.
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
        # Pretraining first, as other runs wait for it; then longest first, so that short runs are left for
        # the end.
        ordered = sorted(
            todo.values(), key=lambda p: (p.run.task != PRETRAINING, -minutes.get(p.run.task, 1))
        )
        self.runs = {planned.run.name: ScheduledRun(planned) for planned in ordered}
        self._slots = slots
        self._free = list(reversed(slots))  # a stack: the slot used last already has a running process
        self._executor = executor
        self._job_of = job_of
        self._minutes = minutes
        self._work_dir = work_dir

    def of(self, *states: str) -> list[ScheduledRun]:
        """Return the runs in any of the given states."""
        return [run for run in self.runs.values() if run.state in states]

    @property
    def ended(self) -> bool:
        """Whether all runs are done or have failed."""
        return not self.of(WAITING, ELSEWHERE, RUNNING)

    def step(self) -> list[ScheduledRun]:
        """Start the runs that can start; return those that finished, failed or died since the last step."""
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
        """Stop all running jobs and release all slots."""
        self._executor.stop()
        for slot in self._slots:
            slot.release()

    def estimate(self) -> tuple[float, float]:
        """Return the fraction of the work that is done, and the seconds left.

        The expected duration of a run is the mean of the finished runs of its task, or the suite's `minutes`.
        """
        took: dict[str, list[float]] = {}
        for run in self.of(DONE):
            took.setdefault(run.plan.run.task, []).append(run.took)
        total = left = 0.0
        for run in self.runs.values():
            task = run.plan.run.task
            expected = sum(took[task]) / len(took[task]) if task in took else 60 * self._minutes.get(task, 1)
            share = progress(self._work_dir / run.name)[0] if run.state == RUNNING else 0.0
            if share > 0.1:  # enough to extrapolate from this run
                expected = (time.monotonic() - run.began) / share
            total += expected
            if run.state not in (DONE, FAILED):
                left += expected * (1 - share)
        open_runs = len(self.of(WAITING, ELSEWHERE, RUNNING))
        return 1 - left / total, left / min(len(self._slots), max(1, open_runs))

    def _parent_state(self, run: ScheduledRun) -> str | None:
        """Return the state of the run's parent, or None if it has no parent among the scheduled runs."""
        parent = self.runs.get(run.plan.run.parent)
        return parent and parent.state

    def _give_up(self) -> list[ScheduledRun]:
        """Mark the runs with a failed parent as failed, and return them."""
        hopeless = [run for run in self.of(WAITING, ELSEWHERE) if self._parent_state(run) == FAILED]
        for run in hopeless:
            run.state, run.why = FAILED, f"{run.plan.run.parent} failed"
        return hopeless

    def _conclude(self, run: ScheduledRun) -> None:
        """Update the state of a run after its job has ended, and free its slot."""
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
