"""Slots: the CPU threads and GPUs of this machine that each job of a suite uses exclusively."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mixmae_bench.errors import UserError
from mixmae_bench.system.environment import cores

MOST_CPU_JOBS = 4
"""Default upper limit of concurrent jobs on a machine without GPUs."""


@dataclass(frozen=True)
class Slot:
    """Resources of one job.

    Attributes:
        number: Index of the slot, from 0.
        threads: Number of CPU threads of each of the job's processes.
        gpus: The job's GPUs, as in CUDA_VISIBLE_DEVICES; empty without GPUs.
        locks: Locks that reserve the GPUs for this suite.
    """

    number: int
    threads: int
    gpus: tuple[str, ...] = ()
    locks: tuple[FileLock, ...] = field(default=(), compare=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables to start the job's processes with, as CUDA reads them only once."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}

    def release(self) -> None:
        """Release the GPUs."""
        for lock in self.locks:
            lock.release()


def take_slots(jobs: int | None, processes: int) -> list[Slot]:
    """Return slots that divide this machine: one GPU per process, or its cores if it has no GPUs.

    GPUs locked by another suite of this user on this machine are skipped. (A GPU named by number in one
    process and by UUID in another counts as two.)

    Args:
        jobs: Number of slots, or None for as many as the free GPUs allow; without GPUs, as many as leave one
            core per process, at most `MOST_CPU_JOBS`.
        processes: Number of processes per job.

    Raises:
        UserError: If there are not enough GPUs.
    """
    gpus = visible_gpus()
    if not gpus:
        jobs = jobs or max(1, min(MOST_CPU_JOBS, cores() // processes))
        return [Slot(number, max(1, cores() // (jobs * processes))) for number in range(jobs)]
    if processes > 1 and gpus[0].startswith("MIG-"):
        raise UserError(f"--processes is {processes}; a process sees only one MIG device, give --processes 1")
    most = (jobs or len(gpus) // processes or 1) * processes
    taken: list[tuple[str, FileLock]] = []
    for gpu in gpus:
        if len(taken) < most and (lock := _lock(gpu)):
            taken.append((gpu, lock))
    jobs = jobs or max(1, len(taken) // processes)
    if len(taken) < jobs * processes:
        for _, lock in taken:
            lock.release()
        others = f", {len(taken)} of them free: another suite uses the rest" if most <= len(gpus) else ""
        raise UserError(
            f"--jobs {jobs} --processes {processes} needs {jobs * processes} GPUs; this machine has "
            f"{len(gpus)}{others}"
        )
    threads = max(1, cores() // (jobs * processes))
    shares = [taken[number * processes :][:processes] for number in range(jobs)]
    for _, lock in taken[jobs * processes :]:
        lock.release()
    return [
        Slot(number, threads, tuple(gpu for gpu, _ in share), tuple(lock for _, lock in share))
        for number, share in enumerate(shares)
    ]


def visible_gpus() -> list[str]:
    """Return the GPUs visible to this process, as in CUDA_VISIBLE_DEVICES: by number or UUID."""
    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(count)]
    names = [name.strip() for name in given.split(",") if name.strip()]
    if count and names[0].startswith("MIG-"):
        return names  # a process always sees only the first MIG device
    return names[:count]  # CUDA ignores all devices after an invalid one


def _lock(gpu: str) -> FileLock | None:
    """Lock a GPU for this process, or return None if another process has locked it."""
    folder = Path(tempfile.gettempdir(), f"mixmae-bench-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"gpu-{gpu.replace('/', '-')}.lock")  # a MIG name: MIG-GPU-UUID/1/0
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock
