"""The commands submit and check."""

import json
import lzma
import random
import shutil
from pathlib import Path

import pytest

from mixmae_bench.cli import main
from mixmae_bench.results.curves import read_training
from mixmae_bench.results.outcomes import read_outcomes
from mixmae_bench.results.record import Record, append_record, read_records
from mixmae_bench.submissions.check import check
from mixmae_bench.submissions.pack import submit
from mixmae_bench.suite.progress import note_failure

RUNS = [f"mixmae/seed{seed}/{task}" for seed in (0, 1) for task in ("classification", "pretraining")]


def records_of(folder: Path) -> list[Record]:
    records, complaints = read_records(folder / "records.jsonl")
    assert complaints == []
    return records


def test_a_submission_has_what_every_run_left_and_no_checkpoint(good: Path, work_dir: Path) -> None:
    records = records_of(good)
    own = {f"{run}/{file}" for run in RUNS for file in ("config.json", "curves.json", "identity.json")}
    own |= {f"{run}/log.txt.xz" for run in RUNS}
    own |= {"records.jsonl", *(record.outcomes for record in records if record.outcomes)}
    assert {path.relative_to(good).as_posix() for path in good.rglob("*") if path.is_file()} == own
    assert records == records_of(work_dir)
    for record in records:
        if record.outcomes:
            assert read_outcomes(good / record.outcomes, record.outcomes_hash).parts.keys() == {"top1"}
    for run in RUNS:
        assert read_training(good / run) == read_training(work_dir / run)
        log = lzma.decompress((good / run / "log.txt.xz").read_bytes())
        assert log == (work_dir / run / "log.txt").read_bytes()


def test_a_transfer_starts_from_the_checkpoint_that_the_record_of_its_pretraining_states(good: Path) -> None:
    records = {(r.seed, r.task): r for r in records_of(good)}
    for seed in (0, 1):
        first, second = records[seed, "pretraining"], records[seed, "classification"]
        assert first.final_checkpoint == second.checkpoint
        assert second.final_checkpoint not in (None, first.final_checkpoint)


def test_the_commands_say_that_a_submission_is_accepted(
    work_dir: Path, suite_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own" / "mixmae"
    run = work_dir / "mixmae/seed1/classification"  # any folder of the method
    assert main(["submit", str(run), "--out", str(out), "--suite", str(suite_file)]) == 0
    assert main(["check", str(out), "--suite", str(suite_file)]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"accepted; written: {out}\n{out}: accepted\n", "")
    assert [path.name for path in out.parent.iterdir()] == ["mixmae"]


def test_a_submission_is_never_overwritten(
    good: Path, work_dir: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (good / "records.jsonl").stat().st_mtime_ns
    assert main(["submit", str(work_dir / "mixmae"), "--out", str(good), "--suite", str(suite_file)]) == 2
    assert capsys.readouterr().err == (
        f"error: {good} exists already; give another folder with --out, or remove it\n"
    )
    assert (good / "records.jsonl").stat().st_mtime_ns == before


@pytest.fixture
def copied(work_dir: Path, tmp_path: Path) -> Path:
    """A copy of the work folder without checkpoints."""
    return Path(shutil.copytree(work_dir, tmp_path / "work", ignore=shutil.ignore_patterns("*.pth")))


def submit_fails(run: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line of a refused submission; nothing is written."""
    out = run.parents[1] / "submissions" / "own"
    assert main(["submit", str(run), "--out", str(out), "--suite", str(suite_file)]) == 2
    assert not out.exists()
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_submission_that_is_too_large_is_not_written_and_says_what_is_large(
    copied: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = random.Random(0).randbytes(2_000_000)
    with open(copied / "mixmae/seed0/pretraining/log.txt", "ab") as log:
        log.write(noise)
    line = submit_fails(copied / "mixmae", suite_file, capsys)
    assert "bytes are more than 2,000,000; largest: mixmae/seed0/pretraining/log.txt.xz 2,0" in line


def test_a_submission_that_lacks_a_run_is_not_written(
    copied: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / "mixmae/seed1/classification/identity.json").unlink()  # as of a run of another identity
    line = submit_fails(copied / "mixmae", suite_file, capsys)
    assert line == f"{copied / 'mixmae'}: complete: mixmae/seed1/classification is missing"


def test_a_missing_file_of_a_run_is_one_line(
    copied: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copied / "mixmae/seed0/pretraining/curves.json"
    file.unlink()
    line = submit_fails(copied / "mixmae", suite_file, capsys)
    assert line == f"error: {file} cannot be copied: No such file or directory"


def test_a_work_folder_of_several_methods_asks_for_one(
    copied: Path, suite_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append_record(copied / "records.jsonl", Record(**{**vars(records_of(copied)[0]), "method": "other"}))
    assert main(["submit", str(copied), "--out", str(copied.parent / "own"), "--suite", str(suite_file)]) == 2
    assert f"{copied} has runs of mixmae, other; give the folder of one" in capsys.readouterr().err


def test_a_folder_outside_a_work_folder_is_one_line(
    suite_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", str(tmp_path), "--out", str(tmp_path / "own")]) == 2
    assert "is in no work folder of a suite" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "own")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_points_of_the_tuning_that_diverged_are_packed_and_other_failures_are_not(
    copied: Path, suite_file: Path, tmp_path: Path
) -> None:
    reasons = {
        "classification@lr=1": "NotFiniteError: loss is nan",
        "classification@lr=2": "OSError: no",
        "classification@lr=1.stale-20260101-0123456789abcdef": "NotFiniteError: loss is nan",
    }
    for name, reason in reasons.items():
        (copied / "mixmae/seed0" / name).mkdir()
        note_failure(copied / "mixmae/seed0" / name, reason)
    out = tmp_path / "own"
    assert submit(copied / "mixmae", out, suite_file) == []
    assert [path.relative_to(out).as_posix() for path in out.rglob("*@*")] == [
        "mixmae/seed0/classification@lr=1"
    ]


def test_records_of_an_older_schema_are_written_in_the_newest(
    copied: Path, suite_file: Path, tmp_path: Path
) -> None:
    """They do not state the last checkpoint: the transfers of a seed must agree then."""
    file = copied / "records.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["schema"] = 8
        del line["final_checkpoint"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "own"
    assert main(["submit", str(copied), "--out", str(out), "--suite", str(suite_file)]) == 0
    assert {record.schema for record in records_of(out)} == {9}
    assert check(out, suite_file) == []
