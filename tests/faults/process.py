"""The project's commands in processes of their own, which can be killed for real."""

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
    """A command that has ended: its exit status (minus the signal that ended it) and what it printed."""

    status: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The end of what it said, in one line, for a report."""
        shown = "a traceback, " if "Traceback" in self.out + self.err else ""
        return f"{shown}status {self.status}, {' '.join((self.err or self.out).split())[-300:]}"


class Command:
    """A command that runs in a session of its own, in the background.

    Args:
        words: `mixmae-bench`, `train.py` or `test.py`, and its arguments.
        folder: Where it runs; what it prints goes beside it.
        fresh: Whether it is a new Python that imports everything. Else it is forked from this process, which
            has imported it: seconds less for every start, and the same from there on.
        file_limit: Bytes that it may write to a file at most, or None.
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
                os._exit(99)  # of this package's own faults

    def running(self) -> bool:
        """Whether it still runs."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is None

    def kill(self, group: bool = True) -> None:
        """End it by SIGKILL, with all processes that it started or (not `group`) without them."""
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = 300) -> Ended:
        """Wait for its end; one that does not come is made."""
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
    """Run a command to its end; see `Command`."""
    return Command(words, folder, fresh, file_limit).wait(seconds)


def import_everything() -> None:
    """Import what takes seconds, once for all commands that are forked from here on."""
    import torch

    torch.set_num_threads(1)  # no thread of a pool is lost in a fork
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
    """Be the command, in a forked process; return its exit status."""
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
    multiprocessing.util._exit_function()  # what a Python of its own does at its end
    sys.stdout.flush()
    sys.stderr.flush()
    return status
