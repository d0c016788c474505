"""Which GPUs a suite finds, and how its jobs share them and the cores; on pretended GPUs."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mixmae_bench.errors import UserError
from mixmae_bench.suite import slots
from mixmae_bench.suite.slots import Slot, take_slots, visible_gpus

Pretend = Callable[[int, str | None], None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pretend:
    """Pretend that the driver counts so many GPUs; CUDA_VISIBLE_DEVICES is as given. 16 cores."""

    def make(count: int, visible: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(slots, "cores", lambda: 16)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return make


@pytest.mark.parametrize(
    ("count", "visible", "expected"),
    [
        (0, None, []),
        (0, "", []),
        (0, "0,1", []),  # a machine without a driver
        (3, None, ["0", "1", "2"]),
        (2, "5, 3", ["5", "3"]),
        (1, "4,-1,5", ["4"]),  # what comes after a wrong one is not counted
        (2, "GPU-ab12,GPU-cd34", ["GPU-ab12", "GPU-cd34"]),
        (1, "MIG-GPU-a/1/0,MIG-GPU-a/2/0", ["MIG-GPU-a/1/0", "MIG-GPU-a/2/0"]),  # of which a process sees one
    ],
)
def test_gpus_are_those_that_are_visible_or_that_the_driver_counts(
    count: int, visible: str | None, expected: list[str], pretend: Pretend
) -> None:
    pretend(count, visible)
    assert visible_gpus() == expected


@pytest.mark.parametrize(
    ("count", "jobs", "processes", "expected"),
    [
        (4, None, 1, [("0",), ("1",), ("2",), ("3",)]),  # one job per GPU
        (4, 3, 1, [("0",), ("1",), ("2",)]),
        (8, 2, 4, [("0", "1", "2", "3"), ("4", "5", "6", "7")]),
        (5, None, 2, [("0", "1"), ("2", "3")]),
    ],
)
def test_every_job_gets_gpus_of_its_own(
    count: int, jobs: int | None, processes: int, expected: list[tuple], pretend: Pretend
) -> None:
    pretend(count, None)
    found = take_slots(jobs, processes)
    assert [slot.gpus for slot in found] == expected
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found] == [",".join(own) for own in expected]
    assert {slot.threads for slot in found} == {max(1, 16 // sum(map(len, expected)))}


@pytest.mark.parametrize(
    ("jobs", "processes", "expected"),
    [(None, 1, (4, 4)), (None, 8, (2, 1)), (3, 1, (3, 5)), (32, 1, (32, 1))],
)
def test_without_gpus_jobs_share_the_cores(
    jobs: int | None, processes: int, expected: tuple[int, int], pretend: Pretend
) -> None:
    pretend(0, "0,1")
    found = take_slots(jobs, processes)
    assert (len(found), found[0].threads) == expected
    assert {tuple(slot.environment) for slot in found} == {()}


@pytest.mark.parametrize(
    ("count", "visible", "jobs", "processes", "said"),
    [
        (4, None, 5, 1, "--jobs 5 --processes 1 needs 5 GPUs; this machine has 4"),
        (4, "0,1,2,3", 2, 4, "--jobs 2 --processes 4 needs 8 GPUs; this machine has 4"),
        (2, None, None, 3, "--jobs 1 --processes 3 needs 3 GPUs; this machine has 2"),
        (1, "MIG-a,MIG-b", 1, 2, "--processes is 2; a process sees only one MIG device, give --processes 1"),
    ],
)
def test_more_gpus_than_there_are_is_refused_in_one_line(
    count: int, visible: str | None, jobs: int | None, processes: int, said: str, pretend: Pretend
) -> None:
    pretend(count, visible)
    with pytest.raises(UserError) as error:
        take_slots(jobs, processes)
    assert str(error.value) == said
    assert len(take_slots(1, 1)) == 1  # nothing is held by what was refused


def test_two_suites_do_not_take_the_same_gpu(pretend: Pretend) -> None:
    pretend(4, None)
    first = take_slots(1, 2)
    second = take_slots(None, 1)
    assert [slot.gpus for slot in first + second] == [("0", "1"), ("2",), ("3",)]
    with pytest.raises(UserError, match="has 4, 0 of them free: another suite uses the rest"):
        take_slots(1, 1)
    for slot in first:
        slot.release()
    assert [slot.gpus for slot in take_slots(None, 1)] == [("0",), ("1",)]


def test_a_slot_of_the_same_room_is_the_same() -> None:
    assert len({Slot(0, 1, ("2",)), Slot(0, 1, ("2",))}) == 1
