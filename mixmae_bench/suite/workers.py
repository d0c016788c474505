"""Processes that run cells on this machine."""

from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from mmengine.config import Config

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.record import Record
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.together import kill, new_process, run_together


class Workers:
    """Processes that each live for a whole suite, as importing the frameworks takes longer than a tiny cell.

    Args:
        count: Cells to run side by side.
        processes: How many train each cell together; new ones for every cell where it is not 1.
    """

    after_stop = "the same command goes on where it was"

    def __init__(self, count: int, processes: int = 1) -> None:
        self._processes = processes
        self._idle = [new_process() for _ in range(count)]
        self._busy: dict[Future, ProcessPoolExecutor] = {}

    @property
    def free(self) -> int:
        """How many more cells can start."""
        return len(self._idle)

    def processes(self, cfg: Config) -> int:
        """Return how many processes train a cell of this config together."""
        return self._processes

    def submit(self, job: Job) -> Future[Record | None]:
        """Start a cell (see `cell.run_job`)."""
        process = self._idle.pop()
        future = process.submit(_run, job, self._processes)
        self._busy[future] = process
        return future

    def release(self, future: Future) -> bool:
        """Take back the process of a cell that ended; whether it lived on. One that died is replaced."""
        process = self._busy.pop(future)
        died = isinstance(future.exception(), BrokenProcessPool)
        self._idle.append(new_process() if died else process)
        return not died

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        for process in [*self._idle, *self._busy.values()]:
            kill(process)


def _run(job: Job, processes: int) -> Record | None:
    return run_together(processes, _member, job) if processes > 1 else _member(job)


def _member(job: Job) -> Record | None:
    with quiet():  # there is no log yet
        from mixmae_bench.suite.cell import run_job

    return run_job(job)
