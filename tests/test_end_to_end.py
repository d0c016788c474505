"""The smoke suite by the real commands: what they print and record, and what a second start, a kill or a
copied folder does to it."""

import contextlib
import dataclasses
import io
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from forks import Fork, may_fork
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import mixmae_bench.suite.run
from mixmae_bench.cli import main
from mixmae_bench.compat.checkpoints import read_checkpoint
from mixmae_bench.datasets.identity import file_hash
from mixmae_bench.engine.config import content_hash, load_config
from mixmae_bench.registry import MODELS
from mixmae_bench.results.curves import curves_of, read_training
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outcomes import read_outcomes
from mixmae_bench.results.record import SCHEMA, Record, append_record, read_records
from mixmae_bench.suite.plan import Plan
from mixmae_bench.suite.plan import plan as plan_of
from mixmae_bench.suite.spec import Suite, read_suite

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests" / "smoke"
SUITE = SMOKE / "suite.yaml"
COMMAND = Path(sysconfig.get_path("scripts")) / "mixmae-bench"
# Another seed than that of the suite and of every config.
SMOKE_COMMAND = (COMMAND, "run", SUITE, "--seeds", "3")
TRANSFERS = ("classification", "detection", "segmentation")
RUNS = [
    "mixmae/seed3/pretraining",
    *(f"{method}/seed3/{task}" for method in ("scratch", "mixmae") for task in TRANSFERS),
]
METRICS_OF = {
    "pretraining": {"loss"},
    "classification": {"top1"},
    "detection": {"box_ap", "mask_ap"},
    "segmentation": {"miou"},
}


@dataclass(frozen=True)
class Run:
    """A command that has ended, and the folder that it wrote to."""

    folder: Path
    status: int
    out: str
    err: str

    def records(self) -> dict[str, Record]:
        """Return the records by run."""
        return by_run(self.folder / "records.jsonl")


def by_run(file: Path) -> dict[str, Record]:
    records, complaints = read_records(file)
    assert complaints == []
    named = {f"{r.method}/seed{r.seed}/{r.task}": r for r in records}
    assert len(named) == len(records), "a run is recorded twice"
    return named


def run(folder: Path, *command: object) -> Run:
    """Run a command from a neutral working folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(part) for part in command], cwd=folder.parent, capture_output=True, text=True, timeout=500
    )
    return Run(folder, done.returncode, done.stdout, done.stderr)


def run_here(folder: Path, tool: Path | None, *arguments: object) -> Run:
    """Run a tool, or else the command, in this process: a new one takes seconds to import the frameworks."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    function = runpy.run_path(str(tool))["main"] if tool else main
    words = [str(argument) for argument in arguments]
    time.sleep(1 - time.time() % 1)  # mmengine names a run by its second, and reuses the log of an equal name
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder.parent),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", [str(tool), *words])
        patch.setenv("LOCAL_RANK", "0")  # a tool sets it
        status = function() if tool else function(words)
    return Run(folder, status, out.getvalue(), err.getvalue())


def copy_of(run: Run, folder: Path, without: Callable[[Record], bool]) -> Path:
    """Copy a run's folder, leaving out the records that `without` is true for."""
    shutil.copytree(run.folder, folder)
    records, _ = read_records(folder / "records.jsonl")
    (folder / "records.jsonl").unlink()
    for record in records:
        if not without(record):
            append_record(folder / "records.jsonl", record)
    return folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole smoke suite, once.

    About a minute, as every run of a real suite trains and evaluates in it.
    """
    folder = tmp_path_factory.mktemp("smoke_in_a_folder_of_a_long_name") / "work"
    return run(folder, *SMOKE_COMMAND, "--work-dir", folder)


@pytest.fixture(scope="session")
def records(smoke: Run) -> dict[str, Record]:
    return smoke.records()


# One run of everything.


def suite_keys(suite: Suite) -> dict[str, str]:
    return {name: planned.key for name, planned in plan_of(suite).items()}


def test_the_suite_runs_to_its_end_without_a_word_on_stderr(smoke: Run) -> None:
    assert (smoke.status, smoke.err) == (0, "")


def test_stdout_is_the_plan_a_line_per_run_and_the_table_without_the_logs(smoke: Run) -> None:
    lines = smoke.out.splitlines()
    assert len(lines) < 40
    assert lines[0].startswith("suite smoke: 7 runs, 0 done, 7 to run; folder ")
    for name in RUNS:
        assert sum(line.startswith(f"done  {name}  ") for line in lines) == 1
    assert "ran 7 of 7 runs in " in smoke.out
    for spam in ("mmengine", "Warning", "Epoch(", "Loading", "failed"):
        assert spam not in smoke.out


def test_pretraining_is_done_before_what_starts_from_it(smoke: Run) -> None:
    order = [line.split()[1] for line in smoke.out.splitlines() if line.startswith("done  mixmae/")]
    assert order[0] == "mixmae/seed3/pretraining"


def test_printed_paths_are_whole_so_that_they_can_be_copied(smoke: Run) -> None:
    lines = smoke.out.splitlines()
    assert any(line.endswith(f"folder {smoke.folder}") for line in lines)
    assert f"written: {smoke.folder / 'table.md'}, {smoke.folder / 'records.jsonl'}" in lines


def test_every_run_has_one_record_under_the_key_that_the_plan_gave_it(records: dict[str, Record]) -> None:
    assert sorted(records) == sorted(RUNS)
    assert {name: record.key for name, record in records.items()} == suite_keys(read_suite(SUITE, [3]))


@pytest.mark.parametrize("name", RUNS)
def test_a_record_holds_what_was_run_and_on_what(records: dict[str, Record], name: str) -> None:
    record = records[name]
    assert (record.schema, record.suite, record.suite_version) == (SCHEMA, "smoke", 1)
    assert (record.dataset, record.backbone, record.seed) == ("digits", "MixMAESwin-small", 3)
    assert (record.epochs, record.effective_batch, record.num_samples) == (2, 8, 16)
    assert len(record.losses) == len(record.grad_norms) == 2  # epochs
    assert 0 < min(record.grad_norms) <= max(record.grad_norms) < 1000
    assert record.config_hash == content_hash(load_config(SMOKE / f"{record.task}.py"))
    assert record.threads >= 1
    assert record.precision in ("float32", "bfloat16")
    assert record.images_per_s > 0
    assert record.seconds > 0
    assert record.peak_memory_mb > 10
    started = datetime.fromisoformat(record.started)
    assert started.utcoffset().total_seconds() == 0
    assert 0 <= (datetime.now(UTC) - started).total_seconds() < 3600
    assert record.packages["torch"] == torch.__version__.split("+")[0]
    assert {"python", "torchvision", "numpy", "timm"} < record.packages.keys()
    assert any("mmdet" in name for name in record.packages)
    assert record.code
    assert record.hardware["cpu"]
    assert record.hardware["cores"] >= 1
    assert record.hardware["gpu"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else None)


@pytest.mark.parametrize("name", RUNS)
def test_the_folder_of_a_run_has_the_curves_of_its_record(
    smoke: Run, records: dict[str, Record], name: str
) -> None:
    record = records[name]
    training = read_training(smoke.folder / name)
    assert (training.name, training.config) == (name, record.task)
    assert training.curves == curves_of(record)
    assert [epoch for epoch, _ in training.curves["loss"]] == [1, 2]
    assert (record.curves, record.iterations) == ({}, 2 * record.epoch_iterations)


@pytest.mark.parametrize("name", RUNS)
def test_a_record_names_its_config_relative_to_the_suite(records: dict[str, Record], name: str) -> None:
    assert records[name].config == f"{records[name].task}.py"


@pytest.mark.parametrize("name", RUNS)
def test_a_record_holds_the_metrics_of_its_task_in_range(records: dict[str, Record], name: str) -> None:
    record = records[name]
    assert set(record.metrics) == METRICS_OF[record.task]
    assert set(record.metrics) <= METRICS.keys()
    for name, value in record.metrics.items():
        assert 0 <= value <= (10 if name == "loss" else 100)


@pytest.mark.parametrize("name", RUNS)
def test_per_image_outcomes_lie_beside_the_records_and_give_their_metrics(
    smoke: Run, records: dict[str, Record], name: str
) -> None:
    record = records[name]
    if record.task == "pretraining":
        assert (record.outcomes, record.outcomes_hash) == (None, None)
        return
    assert record.outcomes == f"outcomes/{record.key}.npz"
    file = smoke.folder / record.outcomes
    assert file.stat().st_size < 20_000
    found = read_outcomes(file, record.outcomes_hash)
    assert found.parts.keys() == METRICS_OF[record.task]
    for metric, part in found.parts.items():
        assert found.value(metric) == pytest.approx(record.metrics[metric], abs=part.rounding)
    # AP is over all images of the annotations, also those that are not loaded.
    assert len({*found.images}) == len(found.images) == (400 if record.task == "detection" else 16)


def test_verdicts_of_one_seed_are_written_as_none(smoke: Run) -> None:
    text = (smoke.folder / "verdicts.md").read_text()
    assert f"verdicts: {smoke.folder / 'verdicts.md'}" in smoke.out.splitlines()
    assert text.startswith("# Verdicts: classification on digits, top-1\n")
    assert text.count("No verdict over seeds is possible") == 4


@pytest.mark.parametrize("name", RUNS)
def test_a_record_counts_the_parameters_of_the_model(
    smoke: Run, records: dict[str, Record], name: str
) -> None:
    record = records[name]
    cfg = load_config(SMOKE / f"{record.task}.py")
    backbone = MODELS.build(cfg.model.backbone)
    assert record.backbone_params == sum(p.numel() for p in backbone.parameters())
    state = read_checkpoint(smoke.folder / name / "epoch_2.pth")["state_dict"]
    of_batch_norm = ("running_mean", "running_var", "num_batches_tracked")
    counted = sum(value.numel() for name, value in state.items() if not name.endswith(of_batch_norm))
    assert record.params == counted
    assert record.params > record.backbone_params


def test_transfers_from_pretraining_start_from_exactly_its_checkpoint(
    smoke: Run, records: dict[str, Record]
) -> None:
    file = smoke.folder / "mixmae/seed3/pretraining/epoch_2.pth"
    for task in TRANSFERS:
        record = records[f"mixmae/seed3/{task}"]
        assert record.checkpoint == file_hash(file)
        assert record.checkpoint_filled == 100.0
        log = (smoke.folder / f"mixmae/seed3/{task}/log.txt").read_text()
        assert (
            log.count(f"loaded 100.0% of MixMAESwin (88 tensors) from {file}; resized 0: []; missing 0") == 1
        )


def test_pretraining_and_scratch_start_from_nothing(smoke: Run, records: dict[str, Record]) -> None:
    for name in ("mixmae/seed3/pretraining", *(f"scratch/seed3/{task}" for task in TRANSFERS)):
        assert records[name].checkpoint is None
        assert records[name].checkpoint_filled is None
        assert "% of MixMAESwin" not in (smoke.folder / name / "log.txt").read_text()


def test_scratch_and_mixmae_differ_in_nothing_but_the_start(records: dict[str, Record]) -> None:
    for task in TRANSFERS:
        one, other = records[f"scratch/seed3/{task}"], records[f"mixmae/seed3/{task}"]
        for name in ("config_hash", "seed", "epochs", "effective_batch", "num_samples", "params", "threads"):
            assert getattr(one, name) == getattr(other, name)
        assert one.key != other.key


@pytest.mark.parametrize("name", RUNS)
def test_every_run_logs_its_training_in_its_own_folder(smoke: Run, name: str) -> None:
    folder = smoke.folder / name
    log = (folder / "log.txt").read_text()
    assert "Epoch(train) [2][2/2]" in log
    assert "numpy_random_seed: 3" in log
    assert "Traceback" not in log
    progress = json.loads((folder / "progress.json").read_text())
    assert (progress["iter"], progress["max_iters"]) == (4, 4)
    assert (folder / "last_checkpoint").is_file()


def test_the_recorded_miou_is_what_the_framework_logged(smoke: Run, records: dict[str, Record]) -> None:
    for method in ("scratch", "mixmae"):
        name = f"{method}/seed3/segmentation"
        (logged,) = re.findall(
            r"Epoch\(val\).*\bmIoU: ([0-9.]+)", (smoke.folder / name / "log.txt").read_text()
        )
        assert records[name].metrics["miou"] == float(logged)


def test_the_recorded_loss_is_the_mean_over_the_last_epoch(smoke: Run, records: dict[str, Record]) -> None:
    log = (smoke.folder / "mixmae/seed3/pretraining/log.txt").read_text()
    # The log has, after each of the four iterations, the mean over all until then.
    _, second, _, fourth = map(float, re.findall(r"Epoch\(train\) .*\bloss: ([0-9.]+)", log))
    last_epoch = (4 * fourth - 2 * second) / 2
    assert records["mixmae/seed3/pretraining"].metrics["loss"] == pytest.approx(last_epoch, abs=1e-3)


def test_the_table_is_written_as_it_is_printed(smoke: Run, records: dict[str, Record]) -> None:
    table = (smoke.folder / "table.md").read_text()
    assert table in smoke.out
    scratch, mixmae = (line for line in table.splitlines() if re.match(r"\| (scratch|mixmae) ", line))
    for method, row in (("scratch", scratch), ("mixmae", mixmae)):
        values = {k: v for task in TRANSFERS for k, v in records[f"{method}/seed3/{task}"].metrics.items()}
        shown = [f"{values[name]:.2f}" for name in ("top1", "box_ap", "mask_ap", "miou")]
        assert row.startswith(f"| {method} | MixMAESwin-small | {' | '.join(shown)} | 0.94 M | ")
        assert " | 1 | 20.9 M | " in row


def test_the_work_folder_holds_the_results_and_nothing_half_written(smoke: Run) -> None:
    assert sorted(path.name for path in smoke.folder.iterdir()) == [
        ".records.jsonl.lock",
        "mixmae",
        "outcomes",
        "records.jsonl",
        "report.html",
        "scratch",
        "table.md",
        "verdicts.md",
    ]
    hidden = {path.relative_to(smoke.folder).as_posix() for path in smoke.folder.rglob("*/.*")}
    assert hidden == {f"{Path(name).parent}/.{Path(name).name}.lock" for name in RUNS}
    assert sorted(path.name for path in smoke.folder.parent.iterdir()) == ["work"]


# The same command again.


def test_a_second_run_runs_nothing_and_prints_the_same_table(
    smoke: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (smoke.folder / "records.jsonl").read_bytes()
    assert main([*map(str, SMOKE_COMMAND[1:]), "--work-dir", str(smoke.folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("suite smoke: 7 runs, 7 done, 0 to run; folder ")
    assert "done  " not in out
    assert (smoke.folder / "records.jsonl").read_bytes() == before
    assert (smoke.folder / "table.md").read_text() in out


@pytest.fixture(scope="session")
def repeated(smoke: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command in a copy of the folder that lacks the record of one finished transfer."""
    folder = copy_of(
        smoke,
        tmp_path_factory.mktemp("repeated") / "work",
        lambda record: (record.method, record.task) == ("mixmae", "segmentation"),
    )
    return run_here(folder, None, *SMOKE_COMMAND[1:], "--work-dir", folder)


def test_a_run_without_its_record_is_run_and_no_other(smoke: Run, repeated: Run) -> None:
    assert (repeated.status, repeated.err) == (0, "")
    assert repeated.out.startswith("suite smoke: 7 runs, 6 done, 1 to run; folder ")
    done = [line.split()[1] for line in repeated.out.splitlines() if line.startswith("done  ")]
    assert done == ["mixmae/seed3/segmentation"]
    for name in RUNS:
        same = (repeated.folder / name / "log.txt").read_bytes() == (
            smoke.folder / name / "log.txt"
        ).read_bytes()
        assert same == (name not in done)


def test_a_run_that_was_trained_but_not_recorded_is_evaluated_again_and_not_trained(
    repeated: Run, records: dict[str, Record]
) -> None:
    now = repeated.records()
    name = "mixmae/seed3/segmentation"
    assert list(now)[-1] == name
    assert {own: record for own, record in now.items() if own != name} == {
        own: record for own, record in records.items() if own != name
    }
    other = {"images_per_s", "seconds", "peak_memory_mb", "started", "code"}
    for field in {own.name for own in dataclasses.fields(Record)} - other:
        assert getattr(now[name], field) == getattr(records[name], field)
    assert now[name].images_per_s is None
    assert (repeated.folder / name / "log.txt").read_text().count("Epoch(train)") == 4


def test_the_table_of_a_repeated_run_is_the_same_but_for_its_time(smoke: Run, repeated: Run) -> None:
    def cells(run: Run) -> list[list[str]]:
        lines = (run.folder / "table.md").read_text().splitlines()
        return [line.removesuffix(" |").split(" | ") for line in lines if line.startswith("| ")]

    first, again = cells(smoke), cells(repeated)
    time = first[0].index("s, mIoU")
    for row, other in zip(first, again, strict=True):
        assert [*row[:time], *row[time + 1 :]] == [*other[:time], *other[time + 1 :]]


def test_a_copied_folder_resumes_from_its_own_checkpoint(repeated: Run) -> None:
    log = (repeated.folder / "mixmae/seed3/segmentation/log.txt").read_text()
    resumed = re.findall(r"Load checkpoint from (\S+)", log)
    assert resumed == [str(repeated.folder / "mixmae/seed3/segmentation/epoch_2.pth")]


# What a run would do, without doing it.


@pytest.fixture
def plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[list[str], str]]:
    """Return the runs that the command would run in a folder, and what it prints."""

    def ask(folder: Path, suite: Path = SUITE, seeds: str = "3", *options: str) -> tuple[list[str], str]:
        asked = []

        def note(suite: Suite, todo: dict[str, Plan], *_: object) -> dict[str, str]:
            asked.extend(todo)
            return {}

        monkeypatch.setattr(mixmae_bench.suite.run, "_run_all", note)
        assert main(["run", str(suite), "--seeds", seeds, "--work-dir", str(folder), *options]) == 0
        return asked, capsys.readouterr().out

    return ask


@pytest.fixture
def copy(smoke: Run, tmp_path: Path) -> Callable[..., Path]:
    """Return a folder with the suite's records, or some of them, and its pretraining."""

    def make(without: Callable[[Record], bool] = lambda record: False, name: str = "work") -> Path:
        slim = tmp_path / "slim"
        slim.mkdir()
        shutil.copy(smoke.folder / "records.jsonl", slim)
        shutil.copytree(smoke.folder / "mixmae/seed3/pretraining", slim / "mixmae/seed3/pretraining")
        return copy_of(dataclasses.replace(smoke, folder=slim), tmp_path / name, without)

    return make


def test_another_seed_adds_its_own_runs_and_keeps_the_others(plan: Callable, copy: Callable) -> None:
    asked, out = plan(copy(), seeds="3,4")
    assert asked == [planned.name for planned in read_suite(SUITE, [4]).runs()]
    assert len(asked) == 7
    assert "14 runs, 7 done, 7 to run" in out


def test_a_pretraining_is_repeated_when_told_to_where_its_checkpoint_is_gone_and_still_needed(
    plan: Callable, copy: Callable
) -> None:
    folder = copy(lambda record: (record.method, record.task) == ("mixmae", "detection"))
    (folder / "mixmae/seed3/pretraining/epoch_2.pth").unlink()
    asked, _ = plan(folder, SUITE, "3", "--rerun")
    assert asked == ["mixmae/seed3/pretraining", "mixmae/seed3/detection"]


def test_a_pretraining_is_not_repeated_where_nothing_starts_from_it_any_more(
    plan: Callable, copy: Callable
) -> None:
    folder = copy()
    shutil.rmtree(folder / "mixmae")
    assert plan(folder)[0] == []


def test_a_torn_record_is_warned_about_and_its_run_is_run_again(plan: Callable, copy: Callable) -> None:
    folder = copy(lambda record: (record.method, record.task) == ("scratch", "detection"))
    with open(folder / "records.jsonl", "a") as file:
        file.write('{"schema": 4, "suite": "smo')
    asked, out = plan(folder)
    assert asked == ["scratch/seed3/detection"]
    assert f"warning: {folder / 'records.jsonl'} line 7 is skipped" in out


def test_records_of_another_config_do_not_count_and_are_not_in_the_table(
    plan: Callable, copy: Callable, records: dict[str, Record]
) -> None:
    folder = copy(lambda record: (record.method, record.task) == ("scratch", "classification"))
    old = dataclasses.replace(
        records["scratch/seed3/classification"], key="0" * 16, metrics={"top1": 12.34}, seed=77
    )
    append_record(folder / "records.jsonl", old)
    asked, out = plan(folder)
    assert asked == ["scratch/seed3/classification"]
    assert "12.34" not in out
    assert "77" not in (folder / "table.md").read_text()


@pytest.mark.parametrize("name", ["work[bold]", "work [/]"])
def test_a_folder_s_name_is_printed_as_it_is(plan: Callable, copy: Callable, name: str) -> None:
    folder = copy(name=name)
    _, out = plan(folder)
    assert f"written: {folder / 'table.md'}, {folder / 'records.jsonl'}" in out
    assert f"folder {folder}" in out


def keys_of(folder: Path, **changes: str) -> dict[str, str]:
    """Return the keys of the smoke suite with lines added to some of its configs, as files of `folder`."""
    folder.mkdir()
    for task in ("pretraining", *TRANSFERS):
        text = f"_base_ = {str(SMOKE / f'{task}.py')!r}\n{changes.get(task, '')}\n"
        (folder / f"{task}.py").write_text(text)
    shutil.copy(SUITE, folder)
    return suite_keys(read_suite(folder / "suite.yaml", [3]))


def test_keys_tell_all_runs_apart_and_depend_on_neither_place_nor_choice(tmp_path: Path) -> None:
    keys = suite_keys(read_suite(SUITE, [3, 4]))
    assert len(set(keys.values())) == len(keys) == 14
    assert keys_of(tmp_path / "elsewhere") == {name: keys[name] for name in RUNS}
    only = suite_keys(read_suite(SUITE, [4], ["mixmae"]))
    assert only == {name: keys[name] for name in only}
    assert len(only) == 4


def test_a_changed_pretraining_changes_its_own_key_and_those_of_what_starts_from_it(tmp_path: Path) -> None:
    old = suite_keys(read_suite(SUITE, [3]))
    new = keys_of(tmp_path / "new", pretraining="model = dict(mask_ratio=0.25)")
    assert {name for name in RUNS if old[name] != new[name]} == {c for c in RUNS if c.startswith("mixmae/")}


def test_a_changed_task_changes_the_keys_of_its_own_runs_only(tmp_path: Path) -> None:
    old = suite_keys(read_suite(SUITE, [3]))
    new = keys_of(tmp_path / "new", detection="optim_wrapper = dict(optimizer=dict(lr=5e-4))")
    assert {name for name in RUNS if old[name] != new[name]} == {c for c in RUNS if c.endswith("/detection")}


def test_another_content_of_a_checkpoint_changes_the_keys_of_what_starts_from_it(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    config = SMOKE / "classification.py"
    path.write_text(
        "name: s\nversion: 1\ndataset: d\nseeds: [3]\nminutes: {pretraining: 1, classification: 1}\n"
        f"methods: {{scratch: , a: {{checkpoint: a.pth}}}}\ntasks: {{classification: {config}}}\n"
    )
    keys = []
    for content in (b"one", b"two"):
        (tmp_path / "a.pth").write_bytes(content)
        keys.append(suite_keys(read_suite(path)))
    assert keys[0]["scratch/seed3/classification"] == keys[1]["scratch/seed3/classification"]
    assert keys[0]["a/seed3/classification"] != keys[1]["a/seed3/classification"]


# Killed in the middle.


@dataclass(frozen=True)
class Started:
    """A command that runs in a process group of its own, and the files that it writes to."""

    process: Fork | subprocess.Popen
    out: Path
    err: Path

    @property
    def group(self) -> int:
        return self.process.pid

    def end(self, seconds: float) -> tuple[int, str, str]:
        """Wait for its end; return its exit status and what it printed."""
        return self.process.wait(seconds), self.out.read_text(), self.err.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Started]]:
    """Start a smaller suite in a process group of its own, always in the same folder."""
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: killed\nversion: 1\ndataset: digits\nseeds: [3]\n"
        f"methods: {{scratch: , mixmae: {{pretrain: {SMOKE / 'pretraining.py'}}}}}\n"
        f"tasks: {{classification: {SMOKE / 'classification.py'}}}\n"
        "minutes: {pretraining: 0.1, classification: 0.1}\n"
    )
    words = ["run", str(suite), "--methods", "mixmae", "--work-dir", str(tmp_path / "work")]
    code = (
        "import signal, sys\n"
        # A shell's background job, as this test may be, has Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from mixmae_bench.cli import main\nsys.exit(main({words}))"
    )
    started: list[Started] = []

    def begin() -> Started:
        out, err = (tmp_path / f"{name}{len(started)}" for name in ("out", "err"))
        with open(out, "w") as stdout, open(err, "w") as stderr:
            process = (Fork if may_fork() else subprocess.Popen)(
                [sys.executable, "-c", code],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        started.append(Started(process, out, err))
        return started[-1]

    yield begin
    for one in started:
        if group_lives(one.group):
            os.killpg(one.group, signal.SIGKILL)
        one.process.wait()


def group_lives(group: int) -> bool:
    """Whether a process group has a living process (in a container without an init, zombies stay)."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    if not Path("/proc/self/stat").is_file():
        return True
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state not in "ZX":
            return True
    return False


def wait_until(condition: Callable[[], bool], started: Started | None = None, seconds: int = 240) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        assert started is None or started.process.poll() is None, started.end(0)
        time.sleep(0.05)


def test_a_suite_that_is_stopped_and_killed_leaves_no_process_and_goes_on_where_it_was(
    start: Callable[[], Started], tmp_path: Path, records: dict[str, Record]
) -> None:
    folder = tmp_path / "work"
    file = folder / "records.jsonl"

    # Ctrl-C while pretraining is in its worker: one line, status 2.
    first = start()
    wait_until((folder / "mixmae/seed3/pretraining/log.txt").is_file, first)
    os.killpg(first.group, signal.SIGINT)
    status, out, err = first.end(60)
    assert status == 2
    assert err == "error: stopped; repeat the command to resume\n"
    assert "Traceback" not in out
    wait_until(lambda: not group_lives(first.group), seconds=30)
    assert not file.exists()

    # A kill of the suite's process alone, once the first run is recorded.
    second = start()
    wait_until(lambda: file.is_file() and file.read_bytes().endswith(b"\n"), second)
    second.process.kill()
    second.process.wait()
    wait_until(lambda: not group_lives(second.group), seconds=30)
    assert list(by_run(file)) == ["mixmae/seed3/pretraining"]
    before = file.read_bytes()
    checkpoint = (folder / "mixmae/seed3/pretraining/epoch_2.pth").stat()

    third = start()
    status, out, err = third.end(400)
    assert (status, err) == (0, "")
    assert out.startswith("suite killed: 2 runs, 1 done, 1 to run; folder ")
    wait_until(lambda: not group_lives(third.group), seconds=30)
    assert file.read_bytes().startswith(before)
    assert (folder / "mixmae/seed3/pretraining/epoch_2.pth").stat().st_mtime_ns == checkpoint.st_mtime_ns
    now = by_run(file)
    assert sorted(now) == [f"mixmae/seed3/{t}" for t in ("classification", "pretraining")]

    # The same runs as those of the smoke suite: the same keys, and the same pretraining.
    for name, record in now.items():
        assert record.key == records[name].key
    pretraining = "mixmae/seed3/pretraining"
    assert now[pretraining].metrics["loss"] == pytest.approx(records[pretraining].metrics["loss"], rel=1e-3)


# A run that fails.


def test_a_failing_run_is_named_with_its_log_fails_what_needs_it_and_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plan: Callable
) -> None:
    config = tmp_path / "broken.py"
    config.write_text(
        f"_base_ = {str(SMOKE / 'pretraining.py')!r}\noptim_wrapper = dict(optimizer=dict(nonsense=1))\n"
    )
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: broken\nversion: 1\ndataset: digits\nseeds: [3]\n"
        f"methods: {{mixmae: {{pretrain: broken.py}}}}\n"
        f"tasks: {{classification: {SMOKE / 'classification.py'}}}\n"
        "minutes: {pretraining: 0.1, classification: 0.1}\n"
    )
    folder = tmp_path / "work"
    assert main(["run", str(suite), "--work-dir", str(folder), "--jobs", "1"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "Traceback" not in out
    log = folder / "mixmae/seed3/pretraining/log.txt"
    (first,) = [line for line in out.splitlines() if line.startswith("failed: mixmae/seed3/pretraining: ")]
    assert first.endswith(f"; log: {log}")
    assert "Error: " in first
    assert "failed: mixmae/seed3/classification: mixmae/seed3/pretraining failed" in out
    assert "Traceback" in log.read_text()
    assert not (folder / "records.jsonl").exists()
    assert not (folder / "table.md").exists()
    assert plan(folder, suite)[0] == ["mixmae/seed3/pretraining", "mixmae/seed3/classification"]


# tools/train.py and tools/test.py


def backbone_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = read_checkpoint(checkpoint)["state_dict"]
    return {k: v for k, v in state.items() if k.startswith("backbone.") and "out_norms" not in k}


@pytest.fixture(scope="session")
def trained(smoke: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch from the pretrained backbone at a learning rate of 0."""
    folder = tmp_path_factory.mktemp("tools") / "work"
    return run(
        folder,
        *(sys.executable, ROOT / "tools/train.py", SMOKE / "classification.py", "--work-dir", folder),
        *("--cfg-options", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=0"),
        "model.backbone.init_cfg.type=Pretrained",
        f"model.backbone.init_cfg.checkpoint={smoke.folder / 'mixmae/seed3/pretraining/epoch_2.pth'}",
    )


@pytest.fixture(scope="session")
def resumed(trained: Run) -> Run:
    """The rest of the training, without a word about the pretrained backbone."""
    options = ("--track", "tensorboard", "--work-dir", trained.folder, "--resume")
    return run_here(trained.folder, ROOT / "tools/train.py", SMOKE / "classification.py", *options)


def test_a_training_really_starts_from_the_values_of_the_pretrained_backbone(
    smoke: Run, trained: Run
) -> None:
    assert trained.status == 0, trained.err
    assert "loaded 100.0% of MixMAESwin" in trained.out
    given = backbone_of(smoke.folder / "mixmae/seed3/pretraining/epoch_2.pth")
    kept = backbone_of(trained.folder / "epoch_1.pth")
    assert given.keys() == kept.keys()
    assert all(torch.equal(given[name], kept[name]) for name in given)


def test_load_from_of_other_names_ends_in_one_line_before_training(tmp_path: Path) -> None:
    torch.save({f"layers.{i}.weight": torch.ones(2, 2) for i in range(3)}, tmp_path / "other.pth")
    done = run_here(
        tmp_path / "work",
        *(ROOT / "tools/train.py", SMOKE / "classification.py"),
        *("--work-dir", tmp_path / "work", "--cfg-options", f"load_from={tmp_path / 'other.pth'}"),
    )
    assert done.status == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"checkpoint {tmp_path / 'other.pth'} fills 0.0% of MixMAESwin" in line
    assert "Traceback" not in done.err
    assert "Epoch(train)" not in done.out
    assert list(tmp_path.rglob("epoch_*.pth")) == []


def test_resume_goes_on_with_the_next_epoch_from_the_saved_weights(smoke: Run, resumed: Run) -> None:
    assert resumed.status == 0, resumed.err
    assert "resumed epoch: 1" in resumed.out
    assert "Epoch(train) [2]" in resumed.out.replace("  ", " ")
    assert "Epoch(train) [1]" not in resumed.out.replace("  ", " ")
    assert (resumed.folder / "epoch_2.pth").is_file()
    # The learning rate of 0 is in the optimiser's saved state: nothing has moved since pretraining.
    given = backbone_of(smoke.folder / "mixmae/seed3/pretraining/epoch_2.pth")
    kept = backbone_of(resumed.folder / "epoch_2.pth")
    assert all(torch.equal(given[name], kept[name]) for name in given)


def test_a_tracker_gets_the_losses_and_the_metrics_of_a_training(resumed: Run) -> None:
    (events,) = resumed.folder.rglob("events.out.tfevents.*")
    curves = EventAccumulator(str(events))
    curves.Reload()
    assert {"loss", "lr", "grad_norm", "accuracy/top1"} <= set(curves.Tags()["scalars"])


def test_the_test_tool_evaluates_the_checkpoint_that_it_is_given(resumed: Run, tmp_path: Path) -> None:
    # All images of the smoke test are of class 0, and this bias makes the model answer nothing else.
    state = read_checkpoint(resumed.folder / "epoch_2.pth")["state_dict"]
    state["head.fc.bias"][0] = 1e6
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": wrapped}, tmp_path / "doctored.pth")
    command = (ROOT / "tools/test.py", SMOKE / "classification.py", tmp_path / "doctored.pth")
    # What the config begins training from is not what is evaluated.
    begin = ("--cfg-options", f"load_from={resumed.folder / 'epoch_2.pth'}")
    done = run_here(tmp_path / "work", *command, "--work-dir", tmp_path / "work", *begin)
    assert done.status == 0, done.err
    assert re.findall(r"accuracy/top1: ([0-9.]+)", done.out) == ["100.0000"]
