"""Processes that work together: what one of them returns or raises, and that none is left behind."""

import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from mixmae_bench.errors import UserError
from mixmae_bench.suite.together import run_together

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def variables() -> dict[str, str]:
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


def test_each_process_has_its_place_and_the_first_one_answers() -> None:
    place = run_together(2, variables)
    assert int(place.pop("MASTER_PORT")) > 1023
    assert place == {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    assert "RANK" not in os.environ


@pytest.mark.parametrize(
    ("how", "kind"), [("raises", UserError), ("dies", BrokenProcessPool)], ids=["raises", "dies"]
)
def test_where_one_fails_its_error_is_raised_and_the_others_are_ended(
    how: str, kind: type, tmp_path: Path
) -> None:
    with pytest.raises(kind, match="a.jpg" if how == "raises" else None):
        run_together(2, fails_in_the_second, tmp_path, how)
    waiting = Path("/proc", (tmp_path / "0").read_text(), "stat")
    deadline = time.monotonic() + 10
    while waiting.is_file() and waiting.read_text().rpartition(")")[2].split()[0] not in "ZX":
        assert time.monotonic() < deadline, "the other process lives on"
        time.sleep(0.01)
