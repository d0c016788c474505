"""What the first of several processes does for all: long work, checksums; and a resume by fewer or more."""

import os
import time
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.runner import Runner
from pair import SMOKE, Pair, runner_of

from mixmae_bench.compat.checkpoints import damage, read_checkpoint
from mixmae_bench.engine.distributed import on_rank_0
from mixmae_bench.engine.resume import PROCESS_COUNTS, find_on_rank_0, latest_intact

OPTIONS = {"train_dataloader.batch_size": 4}


def first_works() -> tuple[int, str]:
    """Let the first process work for longer than a collective may take."""
    group = torch.distributed.distributed_c10d._get_default_group()
    torch.distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=0.2), group)
    try:
        return on_rank_0(lambda: time.sleep(1.0) or get_rank()), on_rank_0(lambda: "again")
    finally:
        torch.distributed.distributed_c10d._set_pg_timeout(timedelta(minutes=30), group)


def test_others_wait_for_the_first_without_a_timeout(pair: Pair) -> None:
    assert pair(first_works) == [(0, "again"), (0, "again")]


def first_fails() -> str:
    def fail() -> None:
        raise OSError(f"process {get_rank()}")

    with pytest.raises(OSError, match="process 0"):
        on_rank_0(fail)
    return on_rank_0(lambda: "on")


def test_what_the_first_raises_all_raise(pair: Pair) -> None:
    assert pair(first_fails) == ["on", "on"]


def test_one_process_alone_is_the_first() -> None:
    assert on_rank_0(lambda: 3) == 3


def checksums(folder: Path) -> int:
    """Find the checkpoint to go on from, read it, and return how often its checksums were computed."""
    computed = []
    testzip = zipfile.ZipFile.testzip
    zipfile.ZipFile.testzip = lambda self: computed.append(self.filename) or testzip(self)
    try:
        path = find_on_rank_0(lambda: latest_intact(folder))
        assert path == folder / "epoch_1.pth"
        assert read_checkpoint(path)["a"].sum() == 3
        assert latest_intact(folder) == path
    finally:
        zipfile.ZipFile.testzip = testzip
    return len(computed)


def test_checksums_are_computed_once_on_a_machine_and_anew_where_the_file_changed(
    pair: Pair, tmp_path: Path
) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "epoch_1.pth")
    (tmp_path / "last_checkpoint").write_text("epoch_1.pth")
    assert pair(checksums, tmp_path) == [1, 0]
    assert pair(checksums, tmp_path) == [0, 0]
    file = tmp_path / "epoch_1.pth"
    os.utime(file, (1, 1))
    assert pair(checksums, tmp_path) == [1, 0]


def test_a_damaged_file_is_looked_at_every_time(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"a": torch.ones(300)}, file)
    content = file.read_bytes()
    position = content.index(torch.ones(300).numpy().tobytes())
    file.write_bytes(content[:position] + b"\1" + content[position + 1 :])
    assert damage(file) == damage(file) == "damaged: the checksum of its part x/data/0 is wrong"
    file.write_bytes(content)
    assert damage(file) is None


# A resume on another number of processes.


def train(folder: Path, launcher: str, epochs: int) -> tuple[list[int], str]:
    """Train to the end of an epoch; return the numbers of processes in the checkpoint, and the log."""
    runner: Runner = runner_of(
        SMOKE / "pretraining.py", folder, launcher, **OPTIONS, **{"train_cfg.max_epochs": epochs}
    )
    runner.train()
    logs = sorted(folder.glob("*/*.log"), key=lambda file: file.stat().st_mtime)
    counts = runner.message_hub.runtime_info[PROCESS_COUNTS]
    if get_rank() == 0:  # which has written it
        content = read_checkpoint(folder / f"epoch_{epochs}.pth")
        assert content["message_hub"]["runtime_info"][PROCESS_COUNTS] == counts
    return counts, logs[-1].read_text()


@pytest.fixture(scope="module")
def begun(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    assert pair(train, folder, "pytorch", 1)[0][0] == [2]
    return folder


def test_a_resume_by_another_number_of_processes_says_so_and_notes_it(begun: Path, pair: Pair) -> None:
    counts, log = pair(train, begun, "pytorch", 2)[0]
    assert counts == [2]
    assert "process(es) so far" not in log
    counts, log = train(begun, "none", 3)
    assert counts == [2, 1]
    assert log.count("trained by 2 process(es) so far, by 1 from here on: masks, ") == 1
    counts, log = pair(train, begun, "pytorch", 4)[0]
    assert counts == [2, 1, 2]
    assert log.count("trained by 1 process(es) so far, by 2 from here on: masks, ") == 1
    counts, log = train(begun, "none", 4)  # nothing left to train
    assert counts == [2, 1, 2]
    assert "process(es) so far" not in log
