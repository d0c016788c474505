"""A process of this machine that calls functions for another one, and lives no longer than that.

By subprocess and a pipe, not by multiprocessing's pools: those hold semaphores, and a killed one ends with a
warning of multiprocessing on the user's terminal. Here a process has its own environment variables too.
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
from mixmae_bench.system.files import write_atomically

CAUSES = {
    signal.SIGKILL: " (out of memory?)",
    signal.SIGBUS: " (shared memory or disk full?)",
    signal.SIGSEGV: " (a crash in compiled code)",
}
"""What usually sends a signal."""

SECONDS_BETWEEN_LOOKS = 0.5
"""At the process that is followed."""


class Call:
    """A call of a function in a worker."""

    def __init__(self, process: subprocess.Popen, connection: Connection) -> None:
        self._process = process
        self._connection = connection

    def done(self) -> bool:
        """Whether it has returned, raised, or died with its process."""
        return self._connection.poll() or self._process.poll() is not None

    def result(self) -> object:
        """Wait for its end and return what it returned; to be called once.

        Raises:
            ProcessDied: If the process ended instead.
            Exception: What the function raised.
        """
        while not self.done():
            time.sleep(0.01)
        try:
            # Processes that the worker forked may hold the pipe open for longer than it lives.
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
    """A process that calls one function at a time; to be ended by `stop`.

    Args:
        environment: Variables that it has beside those of this process, from its start on.
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
        """Whether the process lives."""
        return self._process.poll() is None

    def submit(self, function: Callable, *args: object) -> Call:
        """Call a function of a module."""
        try:
            self._connection.send_bytes(pickle.dumps((function, args)))
        except OSError:
            self._process.wait()  # it has died, as the call will tell
        return Call(self._process, self._connection)

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self._process.terminate()
        self._connection.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(pipe: int, parent: int) -> None:
    """Be a worker: call what comes through a pipe, until it is closed."""
    follow(parent)
    connection = Connection(pipe)
    while True:
        try:
            connection.send_bytes(pickle.dumps(answer(connection.recv_bytes())))
        except (EOFError, OSError):
            return


def serve_once(folder: str, parent: int) -> None:
    """Be one of several processes that call the same (see `together`): read it, and write what came of it."""
    follow(parent)
    value, error = answer(Path(folder, "call").read_bytes())
    if error:
        traceback.print_exception(error)
    write_atomically(Path(folder, f"answer{os.environ['RANK']}"), pickle.dumps((value, error)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if error else 0)  # at once: parting from the others in order may wait for them


def answer(call: bytes) -> tuple[object, Exception | None]:
    """Call a pickled function with its arguments; return what it returned, and what it raised."""
    try:
        function, args = pickle.loads(call)
        value = function(*args)
        pickle.dumps(value)
        return value, None
    except Exception as error:
        return None, portable(error)


def follow(parent: int) -> None:
    """Make this process end when the one that started it does, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def python_call(module: str, function: str, *args: object) -> list[str]:
    """Return the command that calls a function in a new Python, which imports from where this one does."""
    words = ", ".join(map(repr, args))
    code = f"import sys; sys.path[:] = {sys.path!r}; from {module} import {function}; {function}({words})"
    return [sys.executable, "-c", code]


def how_it_ended(status: int) -> str:
    """Say how a process ended, from its exit status (minus the signal that ended it), and why, if known."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by signal {-status}{CAUSES.get(signal.Signals(-status), '')}"
    except ValueError:
        return f"was killed by signal {-status}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Leave Ctrl-C to this process: what it starts meanwhile does not see it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
