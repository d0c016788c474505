"""Runs the project's commands in separate processes that can be killed."""

import multiprocessing.util
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = {name: str(ROOT / "tools" / name) for name in ("train.py", "test.py")}


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status (or the negative signal that ended it) and its output."""

    status: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """Exit status and the end of the output, in one line."""
        shown = "a traceback, " if "Traceback" in self.out + self.err else ""
        return f"{shown}status {self.status}, {' '.join((self.err or self.out).split())[-300:]}"


class Command:
    """A command that runs in the background in a new session.

    Args:
        words: `mixmae-bench`, `train.py` or `test.py`, and its arguments.
        folder: Working folder; the output is written to FOLDER.out and FOLDER.err.
        fresh: Whether to start a new Python process. Otherwise, the command is forked from this process,
            which has imported the packages; this saves seconds per start.
        file_limit: Maximum size of a written file in bytes, or None.
    """

    def __init__(
        self, words: list[object], folder: Path, fresh: bool = False, file_limit: int | None = None
    ) -> None:
        words = [str(word) for word in words]
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = (folder.with_name(f"{folder.name}.{kind}") for kind in ("out", "err"))
        self._status: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            try:
                if file_limit is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
                os._exit(_become(words, folder, self._out, self._err, fresh))
            finally:
                os._exit(99)  # an error in this module

    def running(self) -> bool:
        """Return whether the command is still running."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is None

    def kill(self, group: bool = True) -> None:
        """Kill the command with SIGKILL, including the processes it started if `group`."""
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = 300) -> Ended:
        """Wait until the command ends; kill it after `seconds`."""
        limit = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > limit:
                self.kill()
            time.sleep(0.01)
        return Ended(self._status, *(file.read_text(errors="replace") for file in (self._out, self._err)))


def run(
    words: list[object],
    folder: Path,
    fresh: bool = False,
    file_limit: int | None = None,
    seconds: float = 300,
) -> Ended:
    """Run a command until it ends (see `Command`)."""
    return Command(words, folder, fresh, file_limit).wait(seconds)


def import_everything() -> None:
    """Import slow packages once for all commands that are forked later."""
    import torch

    torch.set_num_threads(1)  # threads of a pool do not survive a fork
    from mixmae_bench.compat.openmmlab import import_quietly, quiet

    import_quietly()
    with quiet():
        import mmseg.datasets  # noqa: F401

        import mixmae_bench.convert.run
        import mixmae_bench.cost.speed
        import mixmae_bench.datasets.check_folder
        import mixmae_bench.engine.reconstruct
        import mixmae_bench.report.page
        import mixmae_bench.suite.execute
        import mixmae_bench.suite.run
        import mixmae_bench.verify.run  # noqa: F401


def _become(words: list[str], folder: Path, out: Path, err: Path, fresh: bool) -> int:
    """Run the command in a forked process; return its exit status."""
    os.setsid()
    os.chdir(folder)
    for number, file in enumerate((Path(os.devnull), out, err)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    program, *args = words
    if fresh:
        script = [TOOLS[program]] if program in TOOLS else ["-m", "mixmae_bench.cli"]
        os.execv(sys.executable, [sys.executable, *script, *args])
    sys.argv = words
    try:
        if program in TOOLS:
            runpy.run_path(TOOLS[program], run_name="__main__")
        else:
            from mixmae_bench.cli import main

            sys.exit(main(args))
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    multiprocessing.util._exit_function()  # as a new Python process does at exit
    sys.stdout.flush()
    sys.stderr.flush()
    return status
