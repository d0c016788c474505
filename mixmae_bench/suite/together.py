"""New processes on this machine: one that outlives nothing it should not, or several that work together."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from mixmae_bench.errors import UserError

T = TypeVar("T")


def new_process() -> ProcessPoolExecutor:
    """Return a pool of one process, which starts with what is first submitted."""
    # A pool of one: if its process dies, no other is lost.
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_follow_parent)


def kill(process: ProcessPoolExecutor) -> None:
    """End a pool of `new_process`, whatever it is at."""
    for worker in list((process._processes or {}).values()):
        worker.kill()
    process.shutdown(wait=False, cancel_futures=True)


def run_together(count: int, function: Callable[..., T], *args: object) -> T:
    """Call a function in `count` new processes that find each other by torchrun's variables.

    Returns:
        What it returned in the first of them.

    Raises:
        Exception: What it raised in the first one to fail, or BrokenProcessPool where one died. The others,
            which would wait for that one, are ended.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members = [new_process() for _ in range(count)]
    try:
        futures = [
            member.submit(_call, dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=count), port, function, *args)
            for rank, member in enumerate(members)
        ]
        wait(futures, return_when=FIRST_EXCEPTION)
        errors = [error for future in futures if future.done() and (error := future.exception())]
        # Where there are several, the others have lost a partner.
        for error in sorted(errors, key=lambda error: not isinstance(error, BrokenProcessPool | UserError)):
            raise error
        return futures[0].result()
    finally:
        for member in members:
            kill(member)


def _call(place: dict[str, int], port: int, function: Callable[..., T], *args: object) -> T:
    place = {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    return function(*args)


def _follow_parent() -> None:
    """Make a process end when the one that started it does, however that ended, and leave Ctrl-C to that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
