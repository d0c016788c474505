"""What each job of a suite has for itself on this machine: CPU threads and GPUs."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from mixmae_bench.errors import UserError
from mixmae_bench.system.environment import cores

MOST_CPU_JOBS = 4
"""Jobs side by side on a CPU where nobody says how many."""


@dataclass(frozen=True)
class Slot:
    """Room for one job.

    Attributes:
        number: Which of the slots it is, from 0.
        threads: CPU threads of each of the job's processes.
        gpus: The job's GPUs, as CUDA_VISIBLE_DEVICES names them; empty without any.
        locks: Held for as long as the GPUs are this suite's.
    """

    number: int
    threads: int
    gpus: tuple[str, ...] = ()
    locks: tuple[FileLock, ...] = field(default=(), compare=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the job's processes, from their start on: CUDA reads them once."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}

    def release(self) -> None:
        """Give the GPUs back."""
        for lock in self.locks:
            lock.release()


def take_slots(jobs: int | None, processes: int) -> list[Slot]:
    """Return slots that share this machine: its GPUs, one for each process, or its cores where it has none.

    A GPU that another suite of this user has taken on this machine is left to it. (One that is named by its
    number here and by its UUID there counts as two.)

    Args:
        jobs: How many slots, or None for as many as there are GPUs for, and without GPUs for as many as give
            each process a core, at most `MOST_CPU_JOBS`.
        processes: How many train each job together.

    Raises:
        UserError: Where there are not enough GPUs.
    """
    gpus = visible_gpus()
    if not gpus:
        jobs = jobs or max(1, min(MOST_CPU_JOBS, cores() // processes))
        return [Slot(number, max(1, cores() // (jobs * processes))) for number in range(jobs)]
    if processes > 1 and gpus[0].startswith("MIG-"):
        raise UserError(f"--processes is {processes}; MIG devices cannot train together, each sees one only")
    most = (jobs or len(gpus) // processes or 1) * processes
    taken: list[tuple[str, FileLock]] = []
    for gpu in gpus:
        if len(taken) < most and (lock := _lock(gpu)):
            taken.append((gpu, lock))
    jobs = jobs or max(1, len(taken) // processes)
    if len(taken) < jobs * processes:
        for _, lock in taken:
            lock.release()
        others = f", {len(taken)} of them free: another suite is run on the rest" if most <= len(gpus) else ""
        raise UserError(
            f"--jobs {jobs} --processes {processes} takes {jobs * processes} GPUs; this machine has "
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
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them: by number or UUID."""
    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(count)]
    names = [name.strip() for name in given.split(",") if name.strip()]
    if count and names[0].startswith("MIG-"):
        return names  # a process sees only the first of them, whatever it is given
    return names[:count]  # CUDA passes over all that come after a wrong one


def _lock(gpu: str) -> FileLock | None:
    """Take a GPU for this process, or return None where another one has it."""
    folder = Path(tempfile.gettempdir(), f"mixmae-bench-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"gpu-{gpu.replace('/', '-')}.lock")  # of a MIG device: MIG-GPU-UUID/1/0
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock
