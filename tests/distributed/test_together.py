"""Processes that work together: what one of them returns or raises, and that none is left behind."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mixmae_bench.errors import ProcessDied, UserError
from mixmae_bench.system.redirect import printing_into
from mixmae_bench.system.worker import Worker

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """What starts such processes in a suite too; of all tests, as it imports torch."""
    process = Worker()
    yield process
    process.stop()


def two(folder: Path, function: Callable, *args: object) -> object:
    """Call a function in two processes; what they print is in `terminal`, and in `log` where one fails."""
    from mixmae_bench.engine.launch import HANDLED, run_together  # imports torch, which the two do not need

    handlers = [signal.getsignal(number) for number in HANDLED]
    try:
        with printing_into(folder / "terminal"):
            return run_together(2, function, *args, log=folder / "log")
    finally:
        assert [signal.getsignal(number) for number in HANDLED] == handlers
        assert "RANK" not in os.environ


def variables() -> dict[str, str]:
    print("a word")
    return {name: os.environ[name] for name in NAMES}


def fails_in_the_second(folder: Path, how: str) -> None:
    """Leave the number of this process; then fail, or wait for ever."""
    rank = os.environ["RANK"]
    (folder / f".{rank}").write_text(str(os.getpid()))
    (folder / f".{rank}").replace(folder / rank)
    while len(list(folder.glob("[01]"))) < 2:
        time.sleep(0.01)
    if rank == "0":
        time.sleep(600)
    if how == "raises":
        raise UserError("data: a.jpg cannot be used")
    os.kill(os.getpid(), signal.SIGKILL)


def fails_after_the_other(folder: Path) -> None:
    """Fail in the second process, and then in the first, as one does that has lost its partner."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which the launcher ends it
    if os.environ["RANK"] == "1":
        (folder / "first").touch()
        raise KeyError("first")
    while not (folder / "first").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    raise RuntimeError("connection closed by peer")


def test_each_process_has_its_place_and_the_first_one_answers(worker: Worker, tmp_path: Path) -> None:
    place = worker.submit(two, tmp_path, variables).result()
    assert int(place.pop("MASTER_PORT")) > 1023
    assert place == {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert (tmp_path / "terminal").read_text() == ""
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raises", UserError, "^data: a.jpg cannot be used$"),
        ("dies", ProcessDied, r"^process 1 of 0 to 1 was killed by signal 9 \(out of memory\?\)$"),
    ],
    ids=["raises", "dies"],
)
def test_where_one_fails_its_error_is_raised_and_the_others_are_ended(
    how: str, kind: type, said: str, worker: Worker, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=said):
        worker.submit(two, tmp_path, fails_in_the_second, tmp_path, how).result()
    assert (tmp_path / "terminal").read_text() == ""
    assert "closing signal" in (tmp_path / "log").read_text()  # as torch's launcher says
    waiting = Path("/proc", (tmp_path / "0").read_text(), "stat")
    deadline = time.monotonic() + 10
    while waiting.is_file() and waiting.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline, "the other process lives on"
        time.sleep(0.01)


def test_the_first_of_several_errors_is_told(worker: Worker, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="first"):
        worker.submit(two, tmp_path, fails_after_the_other, tmp_path).result()
    # The launcher may end the other process before it has printed anything.
    assert "KeyError: 'first'" in (tmp_path / "log").read_text()
