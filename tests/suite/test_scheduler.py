"""What is started when, in which slot, and what becomes of it; with pretended runs, and with real workers."""

import time
from pathlib import Path
from types import SimpleNamespace

import light
import pytest

from mixmae_bench.errors import ProcessDied
from mixmae_bench.suite import scheduler as module
from mixmae_bench.suite import workers
from mixmae_bench.suite.executor import Executor
from mixmae_bench.suite.plan import Plan
from mixmae_bench.suite.progress import failure, write_progress
from mixmae_bench.suite.scheduler import DONE, ELSEWHERE, FAILED, RUNNING, WAITING, Scheduler
from mixmae_bench.suite.slots import Slot
from mixmae_bench.suite.workers import Workers

DIED = ProcessDied("its process was killed by signal 9 (out of memory?)")


def planned(name: str, parent: str | None = None) -> Plan:
    run = SimpleNamespace(name=name, task=name.rpartition("/")[2], parent=parent)
    hashes = dict.fromkeys(("key", "older_key", "config_hash", "data_hash", "code_hash"), "x")
    return Plan(run, identity={}, initialisation="random", parent=parent, **hashes)


class Pretended:
    """An executor in the place of real ones: runs end when told, with what they are told."""

    after_stop = ""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, Slot]] = []
        self.outcomes: dict[str, object] = {}
        self.stopped = False

    def submit(self, job: str, slot: Slot) -> SimpleNamespace:
        self.submitted.append((job, slot))

        def result() -> object:
            outcome = self.outcomes.pop(job)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return SimpleNamespace(done=lambda: job in self.outcomes, result=result)

    def stop(self) -> None:
        self.stopped = True


def make(folder: Path, executor: Executor, plans: list[Plan], slots: int = 1, **minutes: float) -> Scheduler:
    todo = {plan.run.name: plan for plan in plans}
    room = [Slot(number, 1) for number in range(slots)]
    return Scheduler(todo, room, executor, lambda plan, slot: plan.run.name, minutes, folder)


CHAIN = [
    planned("s/short"),
    planned("s/long"),
    planned("m/pretraining"),
    planned("m/short", "m/pretraining"),
    planned("m/after", "m/short"),
]


def test_pretraining_comes_first_then_the_longest_and_each_waits_for_what_it_starts_from(
    tmp_path: Path,
) -> None:
    executor = Pretended()
    own = make(tmp_path, executor, CHAIN, long=5, short=2)
    while not own.ended:
        own.step()
        (running,) = own.of(RUNNING)
        executor.outcomes[running.name] = "record"
        own.step()
    names = [name for name, _ in executor.submitted]
    assert names == ["m/pretraining", "s/long", "s/short", "m/short", "m/after"]
    assert [run.record for run in own.of(DONE)] == ["record"] * 5


def test_a_free_slot_is_no_reason_to_start_before_what_a_run_starts_from_is_done(tmp_path: Path) -> None:
    executor = Pretended()
    own = make(tmp_path, executor, CHAIN, slots=5)
    for done, started in (("s/short", 3), ("m/pretraining", 3), ("m/short", 4)):
        own.step()
        assert len(executor.submitted) == started
        executor.outcomes[done] = "record"
    own.step()
    assert [name for name, _ in executor.submitted[3:]] == ["m/short", "m/after"]


def test_no_two_runs_share_a_slot_and_a_free_one_is_used_again(tmp_path: Path) -> None:
    executor = Pretended()
    own = make(tmp_path, executor, [planned(f"{letter}/short") for letter in "abcd"], slots=3)
    own.step()
    assert [slot.number for _, slot in executor.submitted] == [0, 1, 2]
    assert own.step() == []
    executor.outcomes["b/short"] = "record"
    (done,) = own.step()
    assert (done.name, done.state) == ("b/short", DONE)
    assert executor.submitted[-1][0] == "d/short"
    assert executor.submitted[-1][1].number == 1
    own.stop()
    assert executor.stopped


def test_what_starts_from_a_failed_run_fails_with_it(tmp_path: Path) -> None:
    executor = Pretended()
    own = make(tmp_path, executor, CHAIN[2:])
    own.step()
    executor.outcomes["m/pretraining"] = ValueError("no such thing")
    changed = own.step() + own.step() + own.step()
    assert {run.name: run.why for run in changed} == {
        "m/pretraining": "ValueError: no such thing",
        "m/short": "m/pretraining failed",
        "m/after": "m/short failed",
    }
    assert own.ended


def test_a_run_whose_process_died_is_run_again_once(tmp_path: Path) -> None:
    executor = Pretended()
    own = make(tmp_path, executor, [planned("a/short"), planned("b/short")])
    for state, why in ((WAITING, str(DIED)), (FAILED, f"{DIED}, 2 times")):
        own.step()
        executor.outcomes["a/short"] = DIED
        (run,) = own.step()
        assert (run.name, run.why) == ("a/short", why)
        assert (run.state == FAILED) == (state == FAILED)
    assert failure(tmp_path / "a/short") == f"{DIED}, 2 times"
    assert [name for name, _ in executor.submitted] == ["a/short", "a/short", "b/short"]


def test_a_run_that_another_suite_is_at_is_asked_for_again_later_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    executor = Pretended()
    own = make(tmp_path, executor, [planned("a/short"), planned("b/short")])
    own.step()
    executor.outcomes["a/short"] = None
    assert own.step() == []
    assert [run.name for run in own.of(ELSEWHERE)] == ["a/short"]
    executor.outcomes["b/short"] = "record"
    own.step()
    assert own.of(RUNNING) == []
    now += module.SECONDS_BETWEEN_TRIES
    own.step()
    assert [run.name for run in own.of(RUNNING)] == ["a/short"]


def test_the_estimate_follows_what_the_runs_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    executor = Pretended()
    own = make(tmp_path, executor, [planned(f"{letter}/short") for letter in "abcd"], slots=2, short=1)
    assert own.estimate() == (0.0, 120.0)
    own.step()
    now, executor.outcomes["a/short"] = 30.0, "record"
    own.step()
    assert own.estimate() == (0.25, 45.0)
    write_progress(tmp_path / "b/short/progress.json", 3, 4, "")  # 30 s are three quarters: 10 are left
    share, left = own.estimate()
    assert (share, left) == (pytest.approx(1 - 70 / 130), pytest.approx(35.0))


# Real processes.


def run_all(plans: list[Plan], slots: list[Slot], executor: Workers, jobs: dict) -> dict[str, object]:
    todo = {plan.run.name: plan for plan in plans}
    own = Scheduler(todo, slots, executor, lambda plan, slot: jobs[plan.run.name], {}, jobs["folder"])
    limit = time.monotonic() + 300
    try:
        while not own.ended:
            assert time.monotonic() < limit, "waited in vain"
            own.step()
            time.sleep(0.02)
    finally:
        own.stop()
    assert own.of(FAILED) == []
    return {run.name: run.record for run in own.of(DONE)}


@pytest.fixture
def jobs(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "notes").mkdir()
    (tmp_path / "work").mkdir()
    names = [f"{letter}/short" for letter in "abcd"]
    return {
        "folder": tmp_path / "work",
        **{name: SimpleNamespace(name=name[0], folder=tmp_path / "notes", together=4) for name in names},
    }


def slots_of(gpus: list[tuple[str, ...]]) -> list[Slot]:
    return [Slot(number, 1, own) for number, own in enumerate(gpus)]


def test_four_jobs_on_four_gpus_see_four_different_ones(jobs: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_run", light.note_gpus)
    plans = [planned(f"{letter}/short") for letter in "abcd"]
    seen = run_all(plans, slots_of([("0",), ("3",), ("GPU-ab",), ("MIG-cd",)]), Workers(), jobs)
    assert sorted(seen.values()) == ["0", "3", "GPU-ab", "MIG-cd"]


def test_two_jobs_of_two_processes_each_use_four_disjoint_gpus(
    jobs: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_run", light.note_gpus_of_pair)
    plans = [planned("a/short"), planned("b/short")]
    seen = run_all(plans, slots_of([("0", "1"), ("2", "3")]), Workers(2), jobs)
    assert sorted(seen.values()) == ["0,1", "2,3"]
    noted = [file.name.partition("-") for file in jobs["a/short"].folder.iterdir()]
    assert sorted(gpu for _, _, gpu in noted) == ["0", "1", "2", "3"]
    for job, gpus in seen.items():
        assert sorted(gpu for own, _, gpu in noted if own == job[0]) == gpus.split(",")


def test_the_worker_in_the_place_of_a_killed_one_has_its_gpus(
    jobs: dict, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "_run", light.die_once)
    assert run_all([planned("a/short")], slots_of([("5",)]), Workers(), jobs) == {"a/short": "5"}
    assert capfd.readouterr() == ("", "")
