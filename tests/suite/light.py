"""What the tests' workers call instead of a run: nothing that imports torch."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace


def note_gpus(job: SimpleNamespace, processes: int) -> str:
    """Note which GPUs this process sees, and return them once all jobs have done so."""
    note(job, os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    return os.environ.get("CUDA_VISIBLE_DEVICES", "none")


def note_gpus_of_pair(job: SimpleNamespace, processes: int) -> str:
    """Do the same in two processes for each job; each notes the GPU that is its own."""
    from mixmae_bench.engine.launch import run_together

    return run_together(processes, note_gpu_of_member, job)


def note_gpu_of_member(job: SimpleNamespace) -> str:
    gpus = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    note(job, gpus[int(os.environ["LOCAL_RANK"])])
    return ",".join(gpus)


def note(job: SimpleNamespace, gpu: str) -> None:
    folder: Path = job.folder
    (folder / f"{job.name}-{gpu}").touch()
    limit = time.monotonic() + 240
    while len(list(folder.iterdir())) < job.together:
        assert time.monotonic() < limit, "not all jobs run at once"
        time.sleep(0.02)


def die_once(job: SimpleNamespace, processes: int) -> str:
    """Be killed the first time; then return the GPUs."""
    file = job.folder / job.name
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def process_and_interrupts() -> tuple[int, bool]:
    """Return this process's number, and whether Ctrl-C is kept from it."""
    return os.getpid(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


class Unpicklable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def fail(how: str) -> None:
    if how == "raise":
        raise ValueError("no such thing")
    if how == "unpicklable":
        raise Unpicklable("this", "that")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
