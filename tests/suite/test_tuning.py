"""Protocols of suites: the grids, the runs of a tuning, the choice, and what a tuned suite then runs."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from rich.console import Console

from mixmae_bench.cli import main
from mixmae_bench.engine.config import load_config
from mixmae_bench.engine.finite import NotFiniteError
from mixmae_bench.engine.settings import SETTINGS
from mixmae_bench.errors import UserError
from mixmae_bench.report.columns import latest
from mixmae_bench.results.record import Record, append_record, read_records
from mixmae_bench.results.tuning import NEAR_TIE, at_border, best, is_tuning
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.execute import run_job
from mixmae_bench.suite.executor import Submitted
from mixmae_bench.suite.job import Job, reason
from mixmae_bench.suite.plan import plan
from mixmae_bench.suite.progress import note_failure
from mixmae_bench.suite.run import _job, run_suite
from mixmae_bench.suite.slots import Slot
from mixmae_bench.suite.spec import Suite, read_suite
from mixmae_bench.suite.stale import is_stale, set_aside, write_note
from mixmae_bench.suite.tune import tune_suite
from mixmae_bench.system.shipped import names

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "tests" / "smoke"
SAMPLE = read_records(ROOT / "results" / "measured" / "digits" / "records.jsonl")[0][0]
GRID = "{layer_decay: [0.7, 1.0], epochs: [2, 4]}"


def suite_file(folder: Path, grid: str = GRID, protocol: str = "tuned", **keys: str) -> Path:
    """Write a suite of two methods and one task on the smoke configs."""
    keys = {
        "recipes": "suite.recipes.yaml",
        "tuning": f"{{share: 0.25, seed: 1, grid: {{classification: {grid}}}}}",
        "methods": f"{{scratch: , mixmae: {{pretrain: {SMOKE}/pretraining.py}}}}",
        "tasks": f"{{classification: {SMOKE}/classification.py}}",
        **keys,
    }
    lines = [f"{key}: {value}" for key, value in keys.items() if value]
    path = folder / "suite.yaml"
    path.write_text("\n".join(["name: t", "version: 1", "seeds: [0, 1]", f"protocol: {protocol}", *lines]))
    return path


# Reading a suite.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(protocol="best"), "protocol is 'best'; give published, shared or tuned"),
        (dict(tuning=""), "protocol 'tuned' needs `tuning` and `recipes`"),
        (dict(recipes=""), "protocol 'tuned' needs `tuning` and `recipes`"),
        (dict(protocol="published"), "`tuning` and `recipes` are for the protocol 'tuned'"),
        (dict(tuning="{share: 0.6, seed: 0, grid: {}}"), "share must be a number above 0 and at most 0.5"),
        (dict(tuning="{share: 0.2, grid: {}}"), "tuning: key 'seed' is missing"),
        (dict(tuning="{share: 0.2, seed: 0, grid: {}}"), "task 'classification' has no grid"),
        (dict(tuning="{share: 0.2, seed: 0, grid: {clasification: {}}}"), "Did you mean 'classification'?"),
        (dict(grid="{layerdecay: [1.0]}"), "unknown setting 'layerdecay'; .*Did you mean 'layer_decay'?"),
        (dict(grid="{lr: [1e-3]}"), "'lr' must be a list of numbers .*YAML reads 1e-3 as text: write 1.0e-3"),
        (dict(grid="{layer_decay: [1.1]}"), "list of numbers of at least 0 and at most 1, not [1.1]"),
        (dict(grid="{epochs: [2.5]}"), "'epochs' must be a list of integers of at least 1"),
        (dict(grid="{lr: [0.1, 0.10]}"), "a value of 'lr' is given twice"),
        (dict(grid="{epochs: [1], iterations: [1]}"), "give `epochs` or `iterations`"),
        (dict(grid="{lr: [1, 2, 3, 4], drop_path: [0, 0.1, 0.2, 0.3]}"), "has 16 points; give at most 12"),
        (
            dict(tasks=f"{{classification: {SMOKE}/classification.py, more: {{config: {SMOKE}/detection.py, "
                 "from: classification}}"),
            "task 'more' starts from task 'classification'; only tasks that start from",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_protocol_is_one_line(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said) if ".*" not in said else said) as caught:
        read_suite(suite_file(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_shared_recipe_is_one_config_per_task(tmp_path: Path) -> None:
    own = f"{{scratch: , scratch-b: {{tasks: {{classification: {SMOKE}/detection.py}}}}}}"
    keys = dict(protocol="shared", tuning="", recipes="")
    assert read_suite(suite_file(tmp_path, **keys)).protocol == "shared"
    with pytest.raises(
        UserError, match=r"'classification' has several configs \(classification.py, detection"
    ):
        read_suite(suite_file(tmp_path, methods=own, **keys))


def test_a_suite_without_a_protocol_is_published() -> None:
    assert {run.protocol for run in read_suite("transfer").runs()} == {"published"}


def test_every_initialisation_has_the_same_points_in_the_order_of_the_grid(tmp_path: Path) -> None:
    runs = read_suite(suite_file(tmp_path)).tuning_runs()
    points = [(d, e) for d in (0.7, 1.0) for e in (2, 4)]
    for method in ("scratch", "mixmae"):
        own = [run for run in runs if run.method.name == method and run.split]
        assert [tuple(value for _, value in run.settings) for run in own] == points
    assert [run.name for run in runs][4:6] == [
        "mixmae/seed1/pretraining",
        "mixmae/seed1/classification@layer_decay=0.7,epochs=2",
    ]


def test_a_tuning_run_trains_the_config_with_its_settings_and_without_the_tuning_images(
    tmp_path: Path,
) -> None:
    run = read_suite(suite_file(tmp_path)).tuning_runs()[-1]
    cfg = config_of(run)
    assert (cfg.train_cfg.max_epochs, cfg.optim_wrapper.paramwise_cfg.layer_decay_rate) == (4, 1.0)
    parts = [cfg[f"{part}_dataloader"].dataset for part in ("train", "val")]
    assert [(own.part, own.share, own.seed) for own in parts] == [("train", 0.25, 1), ("tuning", 0.25, 1)]


def test_the_suite_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0].replace("../", f"{ROOT}/configs/")
    (tmp_path / "mine.yaml").write_text(text)
    suite = read_suite(tmp_path / "mine.yaml")
    assert {task: len(points) for task, points in suite.tuning.grids.items()} == {
        "classification": 9,
        "detection": 8,
        "segmentation": 1,
    }
    assert all(f"`{name}` | `{setting.key}`" in page for name, setting in SETTINGS.items())


def test_a_file_of_recipes_beside_the_suites_is_no_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suites").mkdir()
    for name in ("mine.yaml", "mine.recipes.yaml"):
        (tmp_path / "suites" / name).touch()
    monkeypatch.setattr("mixmae_bench.system.shipped.shipped", lambda name: tmp_path)
    assert list(names("suites")) == ["mine"]


# The choice.


def tuned(value: float, metric: str = "top1", **settings: float) -> Record:
    return dataclasses.replace(SAMPLE, metrics={metric: value}, settings=settings, tuning_share=0.2)


def test_the_best_is_chosen_and_among_near_ties_the_first() -> None:
    records = [tuned(80.0, lr=1), tuned(84.0, lr=2), tuned(84.0 + NEAR_TIE / 2, lr=3), tuned(70.0, lr=4)]
    assert best(records).settings == {"lr": 2}
    assert best([*records, tuned(84.0 + 3 * NEAR_TIE, lr=5)]).settings == {"lr": 5}


def test_of_a_metric_where_lower_is_better_the_lowest_is_chosen() -> None:
    assert best([tuned(2.0, "loss", lr=1), tuned(1.0, "loss", lr=2)]).settings == {"lr": 2}


def test_a_border_is_an_end_of_the_grid_that_could_be_exceeded() -> None:
    points = [dict(lr=lr, decay=decay, one=5) for lr in (1, 2, 3) for decay in (0.7, 1.0)]
    limits = {"lr": (0.0, None), "decay": (0.0, 1.0), "one": (0.0, None)}
    assert at_border(dict(lr=3, decay=1.0, one=5), points, limits) == ["lr"]
    assert at_border(dict(lr=1, decay=0.7, one=5), points, limits) == ["lr", "decay"]
    assert at_border(dict(lr=2, decay=1.0, one=5), points, limits) == []


def test_tuning_runs_are_no_results() -> None:
    assert latest([tuned(99.0, lr=1), SAMPLE]) == [SAMPLE]


# Tuning, then running; runs are pretended.


class Pretended:
    """An executor that records made metrics at once: `top1` of a run's settings."""

    after_stop = ""

    def __init__(self, top1: Callable[..., float]) -> None:
        self.top1 = top1
        self.jobs: list[Job] = []

    def slots(self, jobs: int | None) -> list[Slot]:
        return [Slot(0, 1)]

    def processes(self, cfg: object) -> int:
        return 1

    def submit(self, job: Job, slot: Slot) -> Submitted:
        self.jobs.append(job)

        def result() -> Record:
            run = job.plan.run
            try:
                value = self.top1(run.method.name, **dict(run.settings))
            except NotFiniteError as error:
                job.folder.mkdir(parents=True, exist_ok=True)
                write_note(job.folder, job.plan)
                note_failure(job.folder, reason(error))
                raise
            record = dataclasses.replace(
                SAMPLE,
                **{
                    name: getattr(job.plan, name) for name in ("key", "config_hash", "data_hash", "code_hash")
                },
                method=run.method.name,
                task=run.task,
                seed=run.seed,
                suite="t",
                suite_version=1,
                metrics={"loss" if run.task == "pretraining" else "top1": value},
                protocol=run.protocol,
                settings=dict(run.settings),
                tuning_share=run.split.share if run.split else None,
            )
            job.folder.mkdir(parents=True)
            write_note(job.folder, job.plan)
            torch.save({"state_dict": {}}, job.folder / "epoch_1.pth")
            (job.folder / "last_checkpoint").write_text(str(job.folder / "epoch_1.pth"))
            append_record(job.records, record)
            return record

        return SimpleNamespace(done=lambda: True, result=result)

    def stop(self) -> None:
        pass


def top1(method: str, layer_decay: float = 0.7, epochs: int = 0) -> float:
    """Random weights are best without layer decay, pretraining with it; longer is better for both."""
    return 50 + epochs + (10 * layer_decay if method == "scratch" else -10 * layer_decay)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixmae_bench.suite.run.SECONDS_BETWEEN_LOOKS", 0.0)


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=400)


def tune(suite: Suite, folder: Path, console: Console, value: Callable = top1) -> Pretended:
    executor = Pretended(value)
    assert tune_suite(suite, folder / "work", 1, False, (), console, executor) == {}
    return executor


def run(suite: Suite, folder: Path, console: Console) -> Pretended:
    executor = Pretended(top1)
    run_suite(suite, folder / "work", 1, False, (), console, executor)
    return executor


def test_a_tuned_suite_runs_the_recipe_chosen_for_each_initialisation(
    tmp_path: Path, console: Console
) -> None:
    suite = read_suite(suite_file(tmp_path))
    tuning = tune(suite, tmp_path, console)
    assert len(tuning.jobs) == 1 + 2 * 4
    recipes = yaml.safe_load(suite.recipes.read_text())["recipes"]
    assert recipes["scratch"]["classification"]["settings"] == {"layer_decay": 1.0, "epochs": 4}
    assert recipes["mixmae"]["classification"]["settings"] == {"layer_decay": 0.7, "epochs": 4}
    assert recipes["mixmae"]["classification"]["value"] == top1("mixmae", 0.7, 4)
    out = console.export_text()
    assert (
        "chosen  scratch/classification  layer_decay=1,epochs=4  (top-1 64.00 on the tuning split); " in out
    )
    assert "at the border of the grid: layer_decay, epochs; widen the grid" in out  # mixmae's

    results = run(suite, tmp_path, console)
    ran = [job.plan.run.name for job in results.jobs]
    assert "mixmae/seed1/pretraining" not in ran  # that of the tuning
    assert len(ran) == 1 + 2 * 2
    settings = {
        (job.plan.run.method.name, job.plan.run.settings) for job in results.jobs if job.plan.run.settings
    }
    assert settings == {
        ("scratch", (("layer_decay", 1.0), ("epochs", 4))),
        ("mixmae", (("layer_decay", 0.7), ("epochs", 4))),
    }
    assert all(job.plan.run.split is None for job in results.jobs)
    records = read_records(tmp_path / "work" / "records.jsonl")[0]
    assert len(records) == 6
    assert not any(map(is_tuning, records))
    assert all(map(is_tuning, read_records(tmp_path / "work" / "tuning.jsonl")[0]))


def test_a_second_tuning_repeats_nothing_and_chooses_the_same(tmp_path: Path, console: Console) -> None:
    suite = read_suite(suite_file(tmp_path))
    tune(suite, tmp_path, console)
    before = suite.recipes.read_text()
    suite.recipes.unlink()
    assert tune(suite, tmp_path, console).jobs == []
    assert suite.recipes.read_text() == before


def test_a_wider_grid_runs_the_new_points_only(tmp_path: Path, console: Console) -> None:
    tune(read_suite(suite_file(tmp_path)), tmp_path, console)
    wider = read_suite(suite_file(tmp_path, grid="{layer_decay: [0.5, 0.7, 1.0], epochs: [2, 4]}"))
    jobs = tune(wider, tmp_path, console).jobs
    assert {job.plan.run.settings[0][1] for job in jobs} == {0.5}
    assert len(jobs) == 2 * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "suite.recipes.yaml").unlink(), "do not exist"),
        (lambda folder: suite_file(folder, grid="{layer_decay: [0.7, 1.0], epochs: [2]}"), "another grid"),
        (
            lambda folder: suite_file(
                folder, tuning=f"{{share: 0.3, seed: 1, grid: {{classification: {GRID}}}}}"
            ),
            "another grid",
        ),
        (
            lambda folder: suite_file(folder, methods="{scratch-more: }"),
            "no entry for scratch-more, classification",
        ),
    ],
)
def test_a_suite_that_is_not_tuned_as_it_stands_is_refused(
    tmp_path: Path, console: Console, capsys: pytest.CaptureFixture, change: Callable, said: str
) -> None:
    path = suite_file(tmp_path)
    tune(read_suite(path), tmp_path, console)
    change(tmp_path)
    assert main(["run", str(path), "--work-dir", str(tmp_path / "other")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert f"run `mixmae-bench tune {path}` first" in error
    assert not (tmp_path / "other").exists()


def test_a_setting_that_no_key_of_the_config_has_is_refused_before_work_starts(
    tmp_path: Path, console: Console
) -> None:
    suite = read_suite(suite_file(tmp_path, grid="{iterations: [10]}"))
    with pytest.raises(UserError, match=r"classification.py has no train_cfg.max_iters, which setting 'iter"):
        tune(suite, tmp_path, console)
    assert not (tmp_path / "work").exists()


def test_a_tuning_run_of_another_config_is_kept_beside_the_new_one(
    tmp_path: Path, console: Console, capsys: pytest.CaptureFixture
) -> None:
    path = suite_file(tmp_path, grid="{epochs: [2]}")
    tune(read_suite(path), tmp_path, console)
    config = tmp_path / "other.py"
    config.write_text(
        f"_base_ = '{SMOKE}/classification.py'\noptim_wrapper = dict(clip_grad=dict(max_norm=1.0))"
    )
    path = suite_file(tmp_path, grid="{epochs: [2]}", tasks="{classification: other.py}")
    suite, name = read_suite(path), "scratch/seed1/classification@epochs=2"
    planned = plan(suite, runs=suite.tuning_runs())[name]
    assert is_stale(tmp_path / "work" / name, planned)
    set_aside(tmp_path / "work" / name)
    assert main(["clean", str(path), "--work-dir", str(tmp_path / "work")]) == 0
    assert f"{name}.stale-" in capsys.readouterr().out


def test_a_point_that_diverges_is_not_chosen_and_not_repeated(tmp_path: Path, console: Console) -> None:
    def value(method: str, **settings: float) -> float:
        if settings.get("layer_decay") == 1.0:
            raise NotFiniteError("training stopped: loss nan")
        return top1(method, **settings)

    suite = read_suite(suite_file(tmp_path))
    assert len(tune(suite, tmp_path, console, value).jobs) == 9
    recipes = yaml.safe_load(suite.recipes.read_text())["recipes"]
    assert recipes["scratch"]["classification"]["settings"] == {"layer_decay": 0.7, "epochs": 4}
    assert (
        "diverged  scratch/seed1/classification@layer_decay=1,epochs=2: never chosen" in console.export_text()
    )
    before = suite.recipes.read_text()
    assert tune(suite, tmp_path, console, value).jobs == []
    assert suite.recipes.read_text() == before


def test_a_pretraining_that_diverged_is_repeated(tmp_path: Path, console: Console) -> None:
    def value(method: str, **settings: float) -> float:
        if method == "mixmae" and not settings:
            raise NotFiniteError("training stopped: loss nan")
        return top1(method, **settings)

    suite, asked = read_suite(suite_file(tmp_path)), []
    for _ in range(2):
        executor = Pretended(value)
        tune_suite(suite, tmp_path / "work", 1, False, (), console, executor)
        asked.append([job.plan.run.name for job in executor.jobs])
    assert "mixmae/seed1/pretraining" in asked[0]
    assert asked[1] == ["mixmae/seed1/pretraining"]
    assert not suite.recipes.exists()


def test_no_recipe_is_written_while_a_point_is_missing(tmp_path: Path, console: Console) -> None:
    def value(method: str, **settings: float) -> float:
        if method == "mixmae" and settings.get("epochs") == 2:
            raise RuntimeError("no room")
        return top1(method, **settings)

    suite = read_suite(suite_file(tmp_path))
    failed = tune_suite(suite, tmp_path / "work", 1, False, (), console, Pretended(value))
    assert set(failed.values()) == {"RuntimeError: no room"}
    assert not suite.recipes.exists()


def test_only_a_tuned_suite_can_be_tuned(capsys: pytest.CaptureFixture) -> None:
    assert main(["tune", "transfer"]) == 2
    assert "has protocol 'published'; `tune` needs protocol: tuned" in capsys.readouterr().err


def test_status_lists_the_tuning_and_then_the_results(
    tmp_path: Path, console: Console, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path, work = suite_file(tmp_path), str(tmp_path / "work")
    assert main(["status", str(path), "--work-dir", work]) == 0
    out = capsys.readouterr().out
    assert "9 missing" in out
    assert "runs of the results are not listed" in out
    tune(read_suite(path), tmp_path, console)
    assert main(["status", str(path), "--work-dir", work]) == 0
    out = capsys.readouterr().out
    assert re.search(r"mixmae/seed1/classification@layer_decay=0.7,epochs=4 +done +top-1 47.00", out)
    assert re.search(r"mixmae/seed0/classification +missing", out)
    assert "9 done, 5 missing" in out


def test_the_settings_of_a_tuned_result_are_those_of_its_config(tmp_path: Path, console: Console) -> None:
    suite = read_suite(suite_file(tmp_path))
    tune(suite, tmp_path, console)
    job = next(j for j in run(suite, tmp_path, console).jobs if j.plan.run.method.name == "scratch")
    cfg, original = config_of(job.plan.run), load_config(SMOKE / "classification.py")
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == 1.0
    assert cfg.train_cfg.max_epochs == 4
    assert cfg.train_dataloader == original.train_dataloader  # all of the training data
    assert cfg.val_dataloader == original.val_dataloader


def test_a_tuning_run_records_its_point_and_the_number_of_tuning_images(tmp_path: Path) -> None:
    suite = read_suite(suite_file(tmp_path, grid="{epochs: [1], lr: [3.0e-3]}"))
    (planned,) = (
        own for name, own in plan(suite, runs=suite.tuning_runs()).items() if name.startswith("scratch")
    )
    record = run_job(_job(suite, planned, tmp_path / "work", 1, False, ()))
    assert (record.protocol, record.tuning_share) == ("tuned", 0.25)
    assert record.settings == {"epochs": 1, "lr": 3e-3}
    assert (record.epochs, record.lr, record.iterations) == (1, 3e-3, 2)
    assert record.num_samples == 4  # a quarter of the 16 training images of the smoke suite
    assert read_records(tmp_path / "work" / "tuning.jsonl")[0] == [record]
