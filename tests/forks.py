"""Forks of the test process in place of new Python processes.

A new process takes about ten seconds of CPU time to import the frameworks; a fork has them.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, NoReturn


class Fork:
    """A process that executes `python -c CODE` in a fork: the part of `subprocess.Popen` that tests need.

    It inherits all open files, and what this process has imported and changed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: IO | None = None,
        stderr: IO | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        start_new_session: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        _, option, code = command
        assert (option, stdin) == ("-c", subprocess.DEVNULL)
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            if start_new_session:
                os.setsid()
            os.chdir(cwd or ".")
            for file, own in ((stdout, 1), (stderr, 2)):
                os.dup2(file.fileno() if file else own, own)
            if env is not None:
                os.environ.clear()
                os.environ.update(env)
            _execute(code)

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None:
            return self._wait(0)
        limit = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > limit:
                raise subprocess.TimeoutExpired("fork", timeout)
            time.sleep(0.01)
        return status

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


FORKS = SimpleNamespace(Popen=Fork, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)
"""The part of `subprocess` that `mixmae_bench.system.worker` uses."""


def may_fork() -> bool:
    """Return whether a fork of this process can compute.

    It cannot use threads of OpenMP that this process has started, or its CUDA context.
    """
    import torch

    return os.environ.get("OMP_NUM_THREADS") == "1" and not torch.cuda.is_available()


def _execute(code: str) -> NoReturn:
    """Execute code as a new Python process would, and end this process."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(file, "w", closefd=False) for file in (1, 2))
        exec(code, {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
