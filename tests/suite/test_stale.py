"""A run of another identity: what is said, what is refused, and that nothing is deleted."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

import mixmae_bench.suite.run
from mixmae_bench.cli import main
from mixmae_bench.results.record import Record, append_record, read_records
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import write_progress
from mixmae_bench.suite.run import run_suite
from mixmae_bench.suite.spec import read_suite
from mixmae_bench.suite.stale import NOTE, OLDER_NOTE, aside_name, is_stale, set_aside, write_note

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "smoke"
SAMPLE = read_records(ROOT / "results" / "measured" / "digits" / "records.jsonl")[0][0]
RECORDED_AGAIN = "finished with an older version of the suite, unchanged, and recorded for version 3:"
PRETRAINING, CLASSIFICATION = "mixmae/seed0/pretraining", "mixmae/seed0/classification"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with one pretraining and one transfer, with configs of its own."""
    for task in ("pretraining", "classification"):
        (tmp_path / f"{task}.py").write_text(f"_base_ = {str(SMOKE / f'{task}.py')!r}\n")
    (tmp_path / "suite.yaml").write_text(
        "name: s\nversion: 1\ndataset: digits\nseeds: [0]\n"
        "methods: {mixmae: {pretrain: pretraining.py}}\ntasks: {classification: classification.py}\n"
    )
    return tmp_path / "suite.yaml"


@pytest.fixture
def finished(suite: Path, tmp_path: Path) -> Path:
    """The folder of the suite with all runs finished: records, notes and checkpoints."""
    work = tmp_path / "work"
    for name, planned in plan(read_suite(suite)).items():
        finish(work, name, planned)
    return work


def finish(work: Path, name: str, planned: Plan) -> None:
    folder = work / name
    folder.mkdir(parents=True)
    write_note(folder, planned)
    torch.save({"state_dict": {}}, folder / "epoch_2.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_2.pth"))
    write_progress(folder / "progress.json", 4, 4, "loss 0.5")
    append_record(work / "records.jsonl", record_of(planned))


def record_of(planned: Plan, **changes: object) -> Record:
    known = {field.name for field in dataclasses.fields(Record)}
    values = {f.name: getattr(planned, f.name) for f in dataclasses.fields(Plan) if f.name in known}
    run = planned.run
    values |= dict(suite="s", suite_version=1, method="mixmae", task=run.task, seed=0, seconds=7200.0)
    return dataclasses.replace(SAMPLE, **(values | changes))


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], str, str]]:
    """Return exit status, the runs that the command would make, stdout and stderr."""

    def command(suite: Path, work: Path, *options: str) -> tuple[int, list[str], str, str]:
        asked: list[str] = []

        def note(_: object, todo: dict[str, Plan], *__: object) -> dict[str, str]:
            asked.extend(todo)
            return {}

        monkeypatch.setattr(mixmae_bench.suite.run, "_run_all", note)
        status = main(["run", str(suite), "--work-dir", str(work), *options])
        return status, asked, *capsys.readouterr()

    return command


def add(suite: Path, config: str, text: str) -> None:
    with open(suite.parent / f"{config}.py", "a") as file:
        file.write(f"{text}\n")


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_harmless_settings_leave_everything_done(suite: Path, finished: Path, run: Callable) -> None:
    add(suite, "pretraining", "train_dataloader = dict(num_workers=3)\nlog_level = 'WARNING'")
    add(suite, "pretraining", "default_hooks = dict(logger=dict(interval=7), checkpoint=dict(interval=2))")
    assert run(suite, finished)[:2] == (0, [])


def test_a_finished_pretraining_is_not_made_again_without_being_told_to(
    suite: Path, finished: Path, run: Callable
) -> None:
    before = files_of(finished)
    add(suite, "pretraining", "optim_wrapper = dict(optimizer=dict(lr=0.25))")
    status, asked, _, err = run(suite, finished)
    assert (status, asked) == (2, [])
    assert err.count("\n") == 1
    assert f"{PRETRAINING} (2.0 hours): optim_wrapper.optimizer.lr: 0.0015 -> 0.25" in err
    assert "--rerun" in err
    assert files_of(finished) == before


def test_with_rerun_it_is_made_again_and_what_changes_is_said(
    suite: Path, finished: Path, run: Callable
) -> None:
    add(suite, "pretraining", "optim_wrapper = dict(optimizer=dict(lr=0.25))")
    aside = aside_name(finished / PRETRAINING)
    status, asked, out, _ = run(suite, finished, "--rerun")
    assert (status, asked) == (0, [PRETRAINING, CLASSIFICATION])
    change = "optim_wrapper.optimizer.lr: 0.0015 -> 0.25"
    assert f"stale  {PRETRAINING}  {change}; kept as {aside}" in out.splitlines()
    assert f"stale  {CLASSIFICATION}  initial_weights: " in out


def test_a_transfer_is_made_again_without_asking_as_nothing_starts_from_it(
    suite: Path, finished: Path, run: Callable
) -> None:
    add(suite, "classification", "optim_wrapper = dict(optimizer=dict(lr=0.25))")
    assert run(suite, finished)[:2] == (0, [CLASSIFICATION])


@pytest.mark.parametrize("with_record", [True, False])
def test_an_interrupted_rerun_goes_on_without_asking_again(
    suite: Path, finished: Path, run: Callable, with_record: bool
) -> None:
    add(suite, "pretraining", "optim_wrapper = dict(optimizer=dict(lr=0.25))")
    folder = finished / PRETRAINING
    set_aside(folder)
    folder.mkdir()
    write_note(folder, plan(read_suite(suite))[PRETRAINING])
    write_progress(folder / "progress.json", 1, 4, "loss 0.5")
    if not with_record:
        (finished / "records.jsonl").unlink()
    assert run(suite, finished)[:2] == (0, [PRETRAINING, CLASSIFICATION])


def test_a_pretraining_that_was_under_way_is_not_thrown_away_either(
    suite: Path, finished: Path, run: Callable
) -> None:
    (finished / "records.jsonl").unlink()
    write_progress(finished / PRETRAINING / "progress.json", 3, 4, "loss 0.5")
    add(suite, "pretraining", "model = dict(mask_ratio=0.25)")
    status, _, _, err = run(suite, finished)
    assert status == 2
    assert f"{PRETRAINING} (75% done): model.mask_ratio: 0.5 -> 0.25" in err


def test_a_record_without_its_checkpoint_is_said_and_not_made_again_by_itself(
    suite: Path, finished: Path, run: Callable
) -> None:
    shutil.rmtree(finished / PRETRAINING)
    status, asked, out, _ = run(suite, finished)
    assert (status, asked) == (0, [])
    assert f"1 of the finished runs have a record but no checkpoint: {PRETRAINING}" in out
    add(suite, "classification", "optim_wrapper = dict(optimizer=dict(lr=0.25))")
    status, asked, _, err = run(suite, finished)
    assert (status, asked) == (2, [])
    assert f"its checkpoint is missing in {finished / PRETRAINING}" in err
    assert run(suite, finished, "--rerun")[:2] == (0, [PRETRAINING, CLASSIFICATION])


def test_a_folder_is_renamed_with_all_that_is_in_it(finished: Path) -> None:
    folder = finished / PRETRAINING
    before = files_of(folder)
    os.utime(folder / NOTE, (0, 1_800_000_000))  # 2027-01-15
    key = json.loads((folder / NOTE).read_text())["key"]
    aside = set_aside(folder)
    assert aside == finished / f"{PRETRAINING}.stale-20270115-{key}"
    assert not folder.exists()
    assert files_of(aside) == before
    shutil.copytree(aside, folder)
    os.utime(folder / NOTE, (0, 1_800_000_000))
    assert set_aside(folder) == Path(f"{aside}-2")


def test_a_folder_is_stale_by_what_it_holds(suite: Path, tmp_path: Path) -> None:
    plans = plan(read_suite(suite))
    planned, folder = plans[PRETRAINING], tmp_path / "folder"
    assert not is_stale(folder, planned)
    folder.mkdir()
    (folder / "failed").write_text("it broke")
    assert not is_stale(folder, planned)
    write_note(folder, planned)
    assert not is_stale(folder, planned)
    write_note(folder, plans[CLASSIFICATION])
    assert is_stale(folder, planned)
    (folder / NOTE).unlink()
    (folder / "log.txt").touch()  # of something that said nothing about itself
    assert is_stale(folder, planned)


def test_runs_that_an_older_version_finished_stay_done(suite: Path, finished: Path, run: Callable) -> None:
    plans = plan(read_suite(suite))
    (finished / "records.jsonl").unlink()
    for name, planned in plans.items():
        parent = plans[planned.run.parent].older_key if planned.run.parent else None
        old = record_of(planned, key=planned.older_key, parent=parent)
        append_record(finished / "records.jsonl", old)
        (finished / name / NOTE).unlink()
        (finished / name / OLDER_NOTE).write_text(planned.older_key)
    assert run(suite, finished)[:2] == (0, [])
    recorded = {record.key for record in read_records(finished / "records.jsonl")[0]}
    again = plan(read_suite(suite), recorded=recorded)
    assert again[CLASSIFICATION].parent == plans[PRETRAINING].older_key  # the chain of records holds
    add(suite, "pretraining", "model = dict(mask_ratio=0.25)")
    status, _, _, err = run(suite, finished)
    assert status == 2
    assert f"{PRETRAINING} (2.0 hours): config: {suite.parent / 'pretraining.py'} has changed" in err


def test_results_of_an_older_version_of_the_suite_hold_if_their_runs_are_unchanged(
    suite: Path, finished: Path, run: Callable
) -> None:
    suite.write_text(suite.read_text().replace("version: 1", "version: 3"))
    status, asked, out, _ = run(suite, finished)
    assert (status, asked) == (0, [])
    assert f"{RECORDED_AGAIN} 2" in out.replace("\n", " ")
    lines = read_records(finished / "records.jsonl")[0]
    assert [(record.task, record.suite_version) for record in lines[2:]] == [
        ("pretraining", 3),
        ("classification", 3),
    ]
    assert [dataclasses.replace(record, suite_version=1) for record in lines[2:]] == lines[:2]
    assert "recorded for version" not in run(suite, finished)[2]
    assert len(read_records(finished / "records.jsonl")[0]) == 4
    records, _ = run_suite(read_suite(suite), finished, 1, False, (), Console(quiet=True))
    assert records == lines[2:]


def test_results_from_before_a_change_of_this_packages_suite_are_evaluated_again(
    suite: Path, finished: Path, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.write_text(suite.read_text().replace("version: 1", "version: 3"))
    since = {"pretraining": 1, "classification": 2}
    runs = {f"mixmae/{task}": {"hash": "0", "since": version} for task, version in since.items()}
    own = {"s": {"version": 3, "runs": runs}}
    monkeypatch.setattr("mixmae_bench.suite.versions.read_versions", lambda: own)
    status, asked, out, _ = run(suite, finished)
    assert (status, asked) == (0, [CLASSIFICATION])
    assert f"{RECORDED_AGAIN} 1" in out.replace("\n", " ")


def test_clean_lists_what_was_set_aside_and_removes_it_only_when_told_to(
    suite: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aside = set_aside(finished / PRETRAINING)
    command = ["clean", str(suite), "--work-dir", str(finished)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert str(aside) in out
    assert "1 stale folders of suite s in" in out
    assert aside.is_dir()
    kept = files_of(finished / CLASSIFICATION)
    assert main([*command, "--remove"]) == 0
    assert f"removed  {aside}" in capsys.readouterr().out
    assert not aside.exists()
    assert files_of(finished / CLASSIFICATION) == kept
    assert main(command) == 0
    assert "0 stale folders" in capsys.readouterr().out
