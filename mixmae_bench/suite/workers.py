"""Processes that run cells on this machine."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.record import Record
from mixmae_bench.suite.job import Job


class Workers:
    """Processes that each live for a whole suite, as importing the frameworks takes longer than a tiny cell.

    Args:
        count: Cells to run side by side.
    """

    def __init__(self, count: int) -> None:
        self._idle = [_process() for _ in range(count)]
        self._busy: dict[Future, ProcessPoolExecutor] = {}

    @property
    def free(self) -> int:
        """How many more cells can start."""
        return len(self._idle)

    def submit(self, job: Job) -> Future[Record | None]:
        """Start a cell (see `cell.run_job`)."""
        process = self._idle.pop()
        future = process.submit(_run, job)
        self._busy[future] = process
        return future

    def release(self, future: Future) -> bool:
        """Take back the process of a cell that ended; whether it lived on. One that died is replaced."""
        process = self._busy.pop(future)
        died = isinstance(future.exception(), BrokenProcessPool)
        self._idle.append(_process() if died else process)
        return not died

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        for process in [*self._idle, *self._busy.values()]:
            for worker in list((process._processes or {}).values()):
                worker.kill()
            process.shutdown(wait=False, cancel_futures=True)


def _run(job: Job) -> Record | None:
    with quiet():  # there is no log yet
        from mixmae_bench.suite.cell import run_job

    return run_job(job)


def _process() -> ProcessPoolExecutor:
    # A pool of one: if its process dies, no other cell is lost. It starts with its first cell.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    """Make a worker end when the suite's process does, however that ended, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
