"""Several new processes on this machine that work together, launched by torch's elastic launcher."""

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
"""Signals that torch's launcher handles, and goes on handling after its end."""


def run_together(count: int, function: Callable[..., T], *args: object, log: Path | None = None) -> T:
    """Call a function in `count` new processes that find each other by torchrun's variables.

    Args:
        count: How many.
        function: Of a module.
        args: Its arguments.
        log: File that gets what the launcher and the processes printed, where one of them fails.

    Returns:
        What it returned in the first of them.

    Raises:
        ProcessDied: If a process ended without having returned or raised.
        Exception: What it raised in the first one to fail. The others, which would wait for that one, are
            ended.
    """
    with TemporaryDirectory(prefix="mixmae-bench-") as name:
        folder = Path(name)
        (folder / "call").write_bytes(pickle.dumps((function, args)))
        python, *words = python_call("mixmae_bench.system.worker", "serve_once", name, os.getpid())
        # The launcher's store takes a free port and keeps it; the processes use the same store.
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
    """Return the failure that the others follow from, as those have lost a partner or were ended for it.

    A mistake of the user, else a process that died, else what was raised first.
    """
    answers = sorted(folder.glob("answer*"), key=lambda file: file.stat().st_mtime_ns)
    raised = [error for file in answers if (error := pickle.loads(file.read_bytes())[1])]
    mistakes = [error for error in raised if isinstance(error, UserError)]
    silent = {rank: f.exitcode for rank, f in failures.items() if not (folder / f"answer{rank}").is_file()}
    # By SIGTERM the launcher ends the others.
    died = sorted(silent, key=lambda rank: silent[rank] == -signal.SIGTERM)
    told = [ProcessDied(f"process {rank} of 0 to {count - 1} {how_it_ended(silent[rank])}") for rank in died]
    ended = bool(died) and silent[died[0]] == -signal.SIGTERM
    return [*mistakes, *(raised + told if ended else told + raised)][0]
