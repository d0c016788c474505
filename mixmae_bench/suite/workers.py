"""Local executor: execute runs in processes on this machine."""

import gc

from mmengine.config import Config

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.results.record import Record
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.slots import Slot, take_slots
from mixmae_bench.system.worker import Call, Worker


class Workers:
    """One process per slot. An `executor.Executor`.

    A process is kept for the whole suite, as importing the frameworks takes longer than a tiny run, and is
    replaced if it dies.

    Args:
        processes: Number of processes per run; if it is not 1, every run starts new ones.
    """

    after_stop = "repeat the command to resume"

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._workers: dict[Slot, Worker] = {}

    def slots(self, jobs: int | None) -> list[Slot]:
        """Return slots that divide the GPUs, or the cores, of this machine."""
        return take_slots(jobs, self._processes)

    def processes(self, cfg: Config) -> int:
        """Return the number of processes that train a run of this config."""
        return self._processes

    def submit(self, job: Job, slot: Slot) -> Call:
        """Start a run (see `execute.run_job`)."""
        worker = self._workers.get(slot)
        if worker is None or not worker.alive:
            worker = self._workers[slot] = Worker(slot.environment)
        return worker.submit(_run, job, self._processes)

    def stop(self) -> None:
        """End all processes, also while they are busy."""
        for worker in self._workers.values():
            worker.stop()


def _run(job: Job, processes: int) -> Record | None:
    if processes == 1:
        return _member(job)
    from mixmae_bench.engine.launch import run_together  # torch's launcher takes a while to import

    return run_together(processes, _member, job, log=job.folder / "log.txt")


def _member(job: Job) -> Record | None:
    with quiet():  # the run's log is not open yet
        from mixmae_bench.suite.execute import run_job

    gc.freeze()  # mmengine collects garbage for every data set: half a second for the frameworks' objects
    return run_job(job)
