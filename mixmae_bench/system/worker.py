"""Worker process that calls functions for its parent process and ends together with it.

It uses subprocess and a pipe instead of a multiprocessing pool: pools hold semaphores, and if they are
killed, multiprocessing prints a warning to the user's terminal. Each worker also has its own environment
variables.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from mixmae_bench.errors import ProcessDied, portable
from mixmae_bench.system.collection import without_collection
from mixmae_bench.system.files import write_atomically

CAUSES = {
    signal.SIGKILL: " (out of memory?)",
    signal.SIGBUS: " (shared memory or disk full?)",
    signal.SIGSEGV: " (a crash in compiled code)",
}
"""Usual causes of signals."""

SECONDS_BETWEEN_LOOKS = 0.5
"""Interval between checks whether the parent process is alive."""


class Call:
    """A call of a function in a worker."""

    def __init__(self, process: subprocess.Popen, connection: Connection) -> None:
        self._process = process
        self._connection = connection

    def done(self) -> bool:
        """Return whether the call has returned or raised, or its process has died."""
        return self._connection.poll() or self._process.poll() is not None

    def result(self) -> object:
        """Wait for the call and return its result. It can be called once.

        Raises:
            ProcessDied: If the process ended before the function returned or raised.
            Exception: The exception of the function.
        """
        while not self.done():
            time.sleep(0.01)
        try:
            # Processes forked by the worker may keep the pipe open after the worker's end.
            answer = self._connection.recv_bytes() if self._connection.poll() else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            raise ProcessDied(f"its process {how_it_ended(self._process.wait())}")
        value, error = pickle.loads(answer)
        if error is not None:
            raise error
        return value


class Worker:
    """A process that calls one function at a time. End it with `stop`.

    Args:
        environment: Environment variables to add to those of this process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._connection, theirs = Pipe()
        with _interrupts_blocked():
            self._process = subprocess.Popen(
                python_call("mixmae_bench.system.worker", "serve", theirs.fileno(), os.getpid()),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                pass_fds=[theirs.fileno()],
            )
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def submit(self, function: Callable, *args: object) -> Call:
        """Start a call of a function defined at module level."""
        try:
            self._connection.send_bytes(pickle.dumps((function, args)))
        except OSError:
            self._process.wait()  # it has died; the call's result raises ProcessDied
        return Call(self._process, self._connection)

    def stop(self) -> None:
        """End the process, also while it is busy."""
        self._process.terminate()
        self._connection.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(pipe: int, parent: int) -> None:
    """Main function of a worker: execute calls received through a pipe until it is closed."""
    follow(parent)
    connection = Connection(pipe)
    while True:
        try:
            connection.send_bytes(pickle.dumps(answer(connection.recv_bytes())))
        except (EOFError, OSError):
            return


def serve_once(folder: str, parent: int) -> None:
    """Main function of a process of `launch.run_together`: read the call, execute it, write the answer."""
    follow(parent)
    value, error = answer(Path(folder, "call").read_bytes())
    if error:
        traceback.print_exception(error)
    write_atomically(Path(folder, f"answer{os.environ['RANK']}"), pickle.dumps((value, error)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if error else 0)  # at once: a regular exit may wait for the other processes


def answer(call: bytes) -> tuple[object, Exception | None]:
    """Call a pickled function with its arguments; return its result and its exception."""
    try:
        with without_collection():
            function, args = pickle.loads(call)  # imports the function's module
        value = function(*args)
        pickle.dumps(value)
        return value, None
    except Exception as error:
        return None, portable(error)


def follow(parent: int) -> None:
    """End this process when its parent process ends for any reason."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def python_call(module: str, function: str, *args: object) -> list[str]:
    """Return the command that calls a function in a new Python process with the same `sys.path`."""
    words = ", ".join(map(repr, args))
    code = f"import sys; sys.path[:] = {sys.path!r}; from {module} import {function}; {function}({words})"
    return [sys.executable, "-c", code]


def how_it_ended(status: int) -> str:
    """Describe how a process ended, from its exit status (negative: a signal), with the usual cause."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by signal {-status}{CAUSES.get(signal.Signals(-status), '')}"
    except ValueError:
        return f"was killed by signal {-status}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT, so that processes started meanwhile do not receive Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
