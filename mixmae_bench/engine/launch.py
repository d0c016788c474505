"""Launch several cooperating processes on this machine with torch's elastic launcher."""

import os
import pickle
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.system.redirect import printing_into
from mixmae_bench.system.worker import how_it_ended, python_call

T = TypeVar("T")

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that torch's launcher installs handlers for, and does not restore."""


def run_together(count: int, function: Callable[..., T], *args: object, log: Path | None = None) -> T:
    """Call a function in `count` new processes with torchrun's environment variables set.

    Args:
        count: Number of processes.
        function: Function defined at module level.
        args: Its arguments.
        log: File to append the output of launcher and processes to, if one of them fails.

    Returns:
        The result of rank 0.

    Raises:
        ProcessDied: If a process ended without returning or raising.
        Exception: The exception of the first process that failed. The other processes are ended.
    """
    with TemporaryDirectory(prefix="mixmae-bench-") as name:
        folder = Path(name)
        (folder / "call").write_bytes(pickle.dumps((function, args)))
        python, *words = python_call("mixmae_bench.system.worker", "serve_once", name, os.getpid())
        # The launcher's store chooses a free port and keeps it; the processes use the same store.
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs")),
        )
        handlers = {number: signal.getsignal(number) for number in HANDLED}
        try:
            with printing_into(folder / "output"):
                elastic_launch(config, python)(*words)
            return _answer_of(folder, 0)[0]
        except ChildFailedError as error:
            if log:
                log.parent.mkdir(parents=True, exist_ok=True)
                with open(log, "ab") as file:
                    file.write((folder / "output").read_bytes())
            raise _first(error.failures, folder, count) from None
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _answer_of(folder: Path, rank: int) -> tuple[object, Exception | None]:
    return pickle.loads((folder / f"answer{rank}").read_bytes())


def _first(failures: dict[int, ProcessFailure], folder: Path, count: int) -> Exception:
    """Return the failure that caused the others, which lost a peer or were ended by the launcher.

    A UserError comes first, then a process that died, then the exception raised first.
    """
    answers = sorted(folder.glob("answer*"), key=lambda file: file.stat().st_mtime_ns)
    raised = [error for file in answers if (error := pickle.loads(file.read_bytes())[1])]
    mistakes = [error for error in raised if isinstance(error, UserError)]
    silent = {rank: f.exitcode for rank, f in failures.items() if not (folder / f"answer{rank}").is_file()}
    # The launcher ends the other processes with SIGTERM.
    died = sorted(silent, key=lambda rank: silent[rank] == -signal.SIGTERM)
    told = [ProcessDied(f"process {rank} of 0 to {count - 1} {how_it_ended(silent[rank])}") for rank in died]
    ended = bool(died) and silent[died[0]] == -signal.SIGTERM
    return [*mistakes, *(raised + told if ended else told + raised)][0]
