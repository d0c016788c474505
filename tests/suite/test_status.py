"""What a suite says of its runs: the state of each and why."""

import dataclasses
import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from mixmae_bench.cli import main
from mixmae_bench.results.record import Record, append_record, read_records
from mixmae_bench.suite import progress
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import is_running, note_failure, try_lock, write_progress
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.suite.status import state

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "tests" / "smoke" / "suite.yaml"
SAMPLE = read_records(ROOT / "results" / "measured" / "digits" / "records.jsonl")[0][0]
CELL = "mixmae/seed0/detection"


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return plan(read_suite(SUITE))


def record(planned: Plan, **changes: object) -> Record:
    """Return a record that a run of today would have left."""
    run = planned.run
    known = {field.name for field in dataclasses.fields(Record)}
    values = {f.name: getattr(planned, f.name) for f in dataclasses.fields(Plan) if f.name in known}
    values |= dict(method=run.method.name, task=run.task, seed=run.seed, metrics={"box_ap": 31.25})
    return dataclasses.replace(SAMPLE, **(values | changes))


def test_a_run_without_a_record_is_missing(plans: dict[str, Plan], tmp_path: Path) -> None:
    assert state(plans[CELL], [], tmp_path).name == "missing"


def test_a_run_with_its_record_is_done_and_shows_its_metrics(plans: dict[str, Plan], tmp_path: Path) -> None:
    own = state(plans[CELL], [record(plans[CELL])], tmp_path)
    assert (own.name, own.detail) == ("done", "box AP 31.25")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(config_hash="0" * 16), "config"),
        (dict(data_hash="0" * 16), "data"),
        (dict(parent="0" * 16), "checkpoint"),
        (dict(initialisation="random", parent=None), "checkpoint"),
    ],
)
def test_a_run_is_stale_by_what_changed_and_by_nothing_else(
    plans: dict[str, Plan], tmp_path: Path, changes: dict, reason: str
) -> None:
    own = state(plans[CELL], [record(plans[CELL], key="0" * 16, **changes)], tmp_path)
    assert own.name == "stale"
    assert [part.split(":")[0] for part in own.detail.split(", ")] == [reason]


def test_a_run_of_other_code_is_done_and_says_which(plans: dict[str, Plan], tmp_path: Path) -> None:
    own = state(plans[CELL], [record(plans[CELL], code_hash="0" * 16, code="0.0.1 (abc)")], tmp_path)
    assert (own.name, own.detail) == (
        "done",
        "box AP 31.25; made by another version of the code, 0.0.1 (abc)",
    )


def test_a_running_run_shows_how_far_it_is(plans: dict[str, Plan], tmp_path: Path) -> None:
    folder = tmp_path / CELL
    with try_lock(folder) as free:
        assert free
        folder.mkdir()
        write_progress(folder / "progress.json", 30, 40, "loss 0.5")
        own = state(plans[CELL], [], tmp_path)
    assert (own.name, own.detail) == ("running", "75% loss 0.5")
    assert state(plans[CELL], [], tmp_path).name == "missing"


def test_a_failed_run_shows_the_error_and_the_log(plans: dict[str, Plan], tmp_path: Path) -> None:
    folder = tmp_path / CELL
    folder.mkdir(parents=True)
    note_failure(folder, "RuntimeError: it broke")
    own = state(plans[CELL], [], tmp_path)
    assert (own.name, own.detail) == ("failed", f"RuntimeError: it broke; log: {folder / 'log.txt'}")
    note_failure(folder, None)
    assert state(plans[CELL], [], tmp_path).name == "missing"


def test_a_run_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    assert not is_running(tmp_path / "run")
    with try_lock(tmp_path / "run") as first, try_lock(tmp_path / "run") as second:
        assert (first, second) == (True, False)
    assert not is_running(tmp_path / "run")


def test_looking_at_a_run_keeps_no_other_process_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with try_lock(tmp_path / "run"):
        monkeypatch.setattr(progress.FileLock, "acquire", lambda *_, **__: pytest.fail("a lock was taken"))
        assert is_running(tmp_path / "run")


def note_owner(folder: Path, host: str, pid: int, began: str, age: float) -> None:
    note = folder.with_name(f".{folder.name}.owner")
    note.write_text(json.dumps({"host": host, "pid": pid, "began": began}))
    os.utime(note, (time.time() - age,) * 2)


def test_a_note_that_a_crash_left_is_not_believed_for_ever(tmp_path: Path) -> None:
    folder, own, pid = tmp_path / "run", progress._host(), os.getpid()
    began = progress._began(pid)
    note_owner(folder, own, pid, began, age=1e6)
    assert is_running(folder)  # of this machine: whoever lives is at it, however long
    note_owner(folder, own, pid, "1", age=0)
    assert not is_running(folder)  # its number is another process's by now
    ended = subprocess.Popen(["true"])
    ended.wait()
    note_owner(folder, own, ended.pid, began, age=0)
    assert not is_running(folder)
    note_owner(folder, "another", pid, began, age=progress.OLD / 2)
    assert is_running(folder)
    note_owner(folder, "another", pid, began, age=progress.OLD + 1)
    assert not is_running(folder)
    with try_lock(folder) as free:
        assert free
        assert is_running(folder)


def test_a_process_that_has_ended_but_is_not_waited_for_runs_nothing(tmp_path: Path) -> None:
    ended = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    began = progress._began(ended.pid)
    ended.stdin.close()
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    note_owner(tmp_path / "run", progress._host(), ended.pid, began, age=0)
    assert not is_running(tmp_path / "run")
    note_owner(tmp_path / "run", progress._host(), ended.pid, None, age=0)
    assert not is_running(tmp_path / "run")
    ended.wait()


def test_the_note_on_the_owner_is_touched_while_the_run_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_TOUCHES", 0.01)
    folder = tmp_path / "run"
    with try_lock(folder):
        note_owner(folder, "another", 1, "1", age=1e6)
        limit = time.monotonic() + 30
        while not is_running(folder):
            assert time.monotonic() < limit, "it is not touched"
            time.sleep(0.01)
    assert [file.name for file in tmp_path.iterdir()] == [".run.lock"]


def test_the_command_lists_every_run_and_counts_the_states(
    plans: dict[str, Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append_record(tmp_path / "records.jsonl", record(plans[CELL]))
    with open(tmp_path / "records.jsonl", "a", encoding="utf-8") as file:
        file.write("half a li")
    assert main(["status", str(SUITE), "--work-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "line 2 is skipped" in out
    rows = dict(re.findall(r"^ (\S+/seed0/\S+) +(\w+)", out, flags=re.MULTILINE))
    assert rows == {name: "done" if name == CELL else "missing" for name in plans}
    assert "1 done, 6 missing; folder" in out
