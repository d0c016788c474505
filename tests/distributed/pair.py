"""Two processes of one gloo group, shared by all tests that need them, as starting them takes seconds."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mixmae_bench.engine.config import find_data, load_config
from mixmae_bench.engine.distributed import build_runner, init_process_group
from mixmae_bench.engine.prepare import resume_latest
from mixmae_bench.engine.resume import add_checkpoint_hooks
from mixmae_bench.system.worker import Worker

SMOKE = Path(__file__).parents[1] / "smoke"


class Pair:
    """Calls functions in both processes at once.

    A pair that failed is of no use any more: the two may be at different things.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._members = [Worker() for _ in range(2)]
        self._started = [m.submit(_start, rank, port, folder) for rank, m in enumerate(self._members)]

    def __call__(self, function: Callable, *args: object) -> list:
        """Return what the function returned in each of the two."""
        while self._started:
            self._started.pop().result()
        calls = dict(enumerate(member.submit(function, *args) for member in self._members))
        results = {}
        while calls:
            for rank in [rank for rank, call in calls.items() if call.done()]:
                try:
                    results[rank] = calls.pop(rank).result()
                except Exception:
                    self.end()  # the other would wait for this one
                    raise
            time.sleep(0.01)
        return [results[rank] for rank in range(2)]

    def end(self) -> None:
        for member in self._members:
            member.stop()


def _start(rank: int, port: int, folder: Path) -> None:
    place = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    os.environ.update({name: str(value) for name, value in place.items()})
    os.chdir(folder)
    torch.set_num_threads(1)
    from mixmae_bench.suite import execute  # noqa: F401  # imports what all tests need

    init_process_group("pytorch")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    yield pair
    pair.end()


def runner_of(config: Path, folder: Path, launcher: str, **options: object) -> Runner:
    """Build a Runner as `tools/train.py --resume` does."""
    cfg: Config = find_data(load_config(config, options))
    cfg.work_dir = str(folder)
    resume_latest(cfg)
    add_checkpoint_hooks(cfg)
    return build_runner(cfg, launcher)


@contextlib.contextmanager
def output_kept() -> Iterator[None]:
    """Give this process its stdout and stderr back after a run has sent them to its log."""
    kept = os.dup(1), os.dup(2)
    try:
        yield
    finally:
        for own, number in zip(kept, (1, 2), strict=True):
            os.dup2(own, number)
            os.close(own)
