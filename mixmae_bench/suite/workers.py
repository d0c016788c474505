"""Processes that run runs on this machine."""

from mmengine.config import Config

from mixmae_bench.compat.openmmlab import quiet
from mixmae_bench.results.record import Record
from mixmae_bench.suite.job import Job
from mixmae_bench.suite.slots import Slot, take_slots
from mixmae_bench.system.worker import Call, Worker


class Workers:
    """A process per slot that lives for a whole suite, as importing the frameworks takes longer than a tiny
    run; one that died is replaced. An `executor.Executor`.

    Args:
        processes: How many train each run together; new ones for every run where it is not 1.
    """

    after_stop = "the same command goes on where it was"

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._workers: dict[Slot, Worker] = {}

    def slots(self, jobs: int | None) -> list[Slot]:
        """Return slots that share the GPUs, or the cores, of this machine."""
        return take_slots(jobs, self._processes)

    def processes(self, cfg: Config) -> int:
        """Return how many processes train a run of this config together."""
        return self._processes

    def submit(self, job: Job, slot: Slot) -> Call:
        """Start a run (see `execute.run_job`)."""
        worker = self._workers.get(slot)
        if worker is None or not worker.alive:
            worker = self._workers[slot] = Worker(slot.environment)
        return worker.submit(_run, job, self._processes)

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        for worker in self._workers.values():
            worker.stop()


def _run(job: Job, processes: int) -> Record | None:
    if processes == 1:
        return _member(job)
    from mixmae_bench.engine.launch import run_together  # torch's launcher takes a while to import

    return run_together(processes, _member, job, log=job.folder / "log.txt")


def _member(job: Job) -> Record | None:
    with quiet():  # there is no log yet
        from mixmae_bench.suite.execute import run_job

    return run_job(job)
