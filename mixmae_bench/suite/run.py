"""Plan a suite and execute its missing runs concurrently, with one progress bar."""

import contextlib
import copy
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mixmae_bench.datasets.checks import check_datasets
from mixmae_bench.engine.batch import fit_lr
from mixmae_bench.engine.config import check_model, find_data
from mixmae_bench.engine.trackers import check_trackers
from mixmae_bench.errors import UserError
from mixmae_bench.results.metrics import metrics_text
from mixmae_bench.results.record import Record, append_record
from mixmae_bench.results.tuning import RESULTS_FILE, TUNING_FILE, is_tuning, read_all_records
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.executor import Executor
from mixmae_bench.suite.identity import summary
from mixmae_bench.suite.job import Job, final_checkpoint, has_checkpoint
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import failure, progress
from mixmae_bench.suite.recipes import with_recipes
from mixmae_bench.suite.scheduler import DONE, FAILED, RUNNING, ScheduledRun, Scheduler
from mixmae_bench.suite.slots import Slot
from mixmae_bench.suite.spec import CHECKPOINT, Run, Suite
from mixmae_bench.suite.stale import aside_name, check_lost_work, has_diverged, is_stale, what_changed
from mixmae_bench.suite.versions import holding
from mixmae_bench.suite.workers import Workers
from mixmae_bench.system.files import check_writable
from mixmae_bench.transfer.audit import try_checkpoint

SECONDS_BETWEEN_LOOKS = 0.25
PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""Arguments of `Console.print` for names and paths: no wrapping, no markup."""


def run_suite(
    suite: Suite,
    work_dir: Path,
    jobs: int | None,
    rescale: bool,
    trackers: tuple[str, ...],
    console: Console,
    executor: Executor | None = None,
    rerun: bool = False,
    tuning: bool = False,
) -> tuple[list[Record], dict[str, str]]:
    """Train and evaluate every run of a suite that has no record yet, and write the records.

    Several processes that execute the same suite in the same folder share the work.

    Args:
        suite: The suite.
        work_dir: Folder of all results; every run has its own folder in it.
        jobs: Number of concurrent runs, or None for as many as fit (see `Executor.slots`).
        rescale: Whether to scale learning rates to the effective batch size (see `batch.fit_lr`).
        trackers: Names of experiment trackers to log to (see `trackers.track`).
        console: Console for the progress bar and the table.
        executor: Executor of the runs (default: one local process per run).
        rerun: Whether to repeat finished runs that other runs start from, if their identity has changed or
            their checkpoint is missing, and runs of the tuning that diverged.
        tuning: Whether to execute the runs of the tuning instead of those of the results.

    Returns:
        The records of these runs, earlier ones included, and the reason of each failure by run name.

    Raises:
        UserError: Before any run starts, if a config, its data or a checkpoint does not fit, if there are
            fewer GPUs than requested, if finished pretraining would be repeated without `rerun`, or if the
            suite has to be tuned first (see `recipes.with_recipes`).
    """
    if "RANK" in os.environ:
        raise UserError("mixmae-bench run starts its own processes; do not use torchrun, give --processes N")
    executor = executor or Workers()
    check_trackers(trackers)
    found, complaints = read_all_records(work_dir)
    for complaint in complaints:
        console.print(f"warning: {complaint}", style="yellow", **PLAIN)
    runs = suite.tuning_runs() if tuning else with_recipes(suite, rescale, executor.processes).runs()
    plans = plan(suite, rescale, executor.processes, {record.key for record in found}, runs)
    found = _of_this_version(suite, plans, found, work_dir, console)
    done = _done(plans, found, work_dir, console)
    diverged = _diverged(plans, work_dir) if tuning and not rerun else {}
    todo = {name: planned for name, planned in plans.items() if name not in {*done, *diverged}}
    if not rerun:
        check_lost_work(plans, todo, found, work_dir)
    check_runs([planned.run for planned in todo.values()], rescale, executor.processes)
    check_writable(work_dir)
    kind = "runs of the tuning" if tuning else "runs"
    console.print(
        f"suite {suite.name}: {len(plans)} {kind}, {len(done)} done, {len(todo)} to run; folder {work_dir}",
        **PLAIN,
    )
    for name, planned in todo.items():
        folder = work_dir / name
        if is_stale(folder, planned):
            changed = summary(what_changed(planned, folder, found))
            console.print(f"stale  {name}  {changed}; kept as {aside_name(folder)}", style="yellow", **PLAIN)
    failed = diverged
    if todo:

        def job_of(planned: Plan, slot: Slot) -> Job:
            return _job(suite, planned, work_dir, slot.threads, rescale, trackers)

        failed |= _run_all(suite, todo, work_dir, jobs, job_of, console, executor)
    keys = {planned.key for planned in plans.values()}
    ended = [record for record in read_all_records(work_dir)[0] if record.key in keys]
    return [r for r in ended if r.suite != suite.name or r.suite_version >= suite.version], failed


def check_runs(runs: Sequence[Run], rescale: bool, processes: Callable[[Config], int]) -> None:
    """Check the configs of runs, their data and the given checkpoints before any run starts.

    Args:
        runs: The runs.
        rescale: See `run_suite`.
        processes: Function from a config to the number of processes that train it.

    Raises:
        UserError: At the first problem found.
    """
    configs = {recipe: config_of(run) for recipe, run in {run.recipe: run for run in runs}.items()}
    for cfg in configs.values():
        if cfg.get("load_from"):
            raise UserError(
                f"config {cfg.filename}: a suite does not support load_from; "
                f"give `methods: {{NAME: {{checkpoint: {cfg.load_from}}}}}` in the suite file"
            )
        with contextlib.redirect_stdout(io.StringIO()):  # remarks are printed to the log of each run
            check_datasets(find_data(cfg, by_option=False), processes(cfg))
        check_model(cfg)
        fit_lr(copy.deepcopy(cfg), processes(cfg), rescale)
    for run in {(run.method.name, run.config): run for run in runs}.values():
        if run.initialisation == CHECKPOINT:
            try_checkpoint(configs[run.recipe], run.method.checkpoint)


def _of_this_version(
    suite: Suite, plans: dict[str, Plan], found: list[Record], work_dir: Path, console: Console
) -> list[Record]:
    """Return the records that hold for the suite's version; write those of older versions again with it."""
    kept, raised = holding(suite, plans, found)
    for record in raised:
        append_record(work_dir / (TUNING_FILE if is_tuning(record) else RESULTS_FILE), record)
    if raised:
        text = "finished with an older version of the suite, unchanged, and recorded for version"
        console.print(f"{text} {suite.version}: {len(raised)}")
    return kept + raised


def _done(plans: dict[str, Plan], found: list[Record], work_dir: Path, console: Console) -> set[str]:
    """Return the names of the recorded runs; parents of unfinished runs must have a checkpoint too."""
    code = {record.key: record.code_hash for record in found}
    done = {name for name, planned in plans.items() if planned.key in code}
    other = sum(code[plans[name].key] != plans[name].code_hash for name in done)
    if other:
        console.print(f"finished with another version of the code: {other} (see mixmae-bench status)")
    gone = [name for name in done if not has_checkpoint(work_dir / name)]
    if gone:
        console.print(
            f"{len(gone)} of the finished runs have a record but no checkpoint: {summary(sorted(gone))}",
            **PLAIN,
        )
    for name, planned in reversed(plans.items()):  # children first, as a parent may need its own
        parent = planned.run.parent
        if parent in done and name not in done and final_checkpoint(work_dir / parent) is None:
            done.discard(parent)
    return done


def _diverged(plans: dict[str, Plan], work_dir: Path) -> dict[str, str]:
    """Return the reason of every point of the tuning that has ended with a NaN or infinite loss.

    It would do so again. A pretraining that diverged is repeated, as the points start from it.
    """
    folders = {name: work_dir / name for name, planned in plans.items() if planned.run.split}
    return {
        name: failure(folder)
        for name, folder in folders.items()
        if has_diverged(folder) and not is_stale(folder, plans[name])
    }


def _run_all(
    suite: Suite,
    todo: dict[str, Plan],
    work_dir: Path,
    jobs: int | None,
    job_of: Callable[[Plan, Slot], Job],
    console: Console,
    executor: Executor,
) -> dict[str, str]:
    """Train and evaluate runs concurrently; return the reason of each failure by run name."""
    scheduler = Scheduler(todo, executor.slots(jobs), executor, job_of, suite.minutes, work_dir)
    clock = time.monotonic()
    bar = Progress(
        TextColumn("{task.fields[count]}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}  {task.fields[now]}"),
        console=console,
    )
    try:
        with bar:
            task = bar.add_task("", total=1.0, count="", left="", now="")
            while not scheduler.ended:
                for run in scheduler.step():
                    _report(run, work_dir, console)
                share, left = scheduler.estimate()
                running = [run.name for run in scheduler.of(RUNNING)]
                bar.update(
                    task,
                    completed=share,
                    count=f"{len(scheduler.of(DONE))}/{len(todo)}",
                    left=f"{_time_text(left)} left",
                    now=" | ".join(f"{name} {progress(work_dir / name)[1]}" for name in running)
                    or ("" if scheduler.ended else "waiting for runs of another process"),
                )
                time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        raise UserError(f"stopped; {executor.after_stop}") from None
    finally:
        scheduler.stop()
    done = len(scheduler.of(DONE))
    console.print(f"ran {done} of {len(todo)} runs in {_time_text(time.monotonic() - clock)}")
    return {run.name: run.why for run in scheduler.of(FAILED)}


def _job(
    suite: Suite, planned: Plan, work_dir: Path, threads: int, rescale: bool, trackers: tuple[str, ...]
) -> Job:
    parent = planned.run.parent
    return Job(
        suite=suite.name,
        suite_file=suite.path,
        suite_version=suite.version,
        dataset=planned.run.dataset,
        plan=planned,
        folder=work_dir / planned.run.name,
        records=work_dir / (TUNING_FILE if planned.run.split else RESULTS_FILE),
        parent=work_dir / parent if parent else None,
        threads=threads,
        rescale=rescale,
        trackers=trackers,
    )


def _time_text(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _report(run: ScheduledRun, work_dir: Path, console: Console) -> None:
    """Print the outcome of a run."""
    if run.state == FAILED:
        console.print(f"failed  {run.name}", style="red", **PLAIN)
    elif run.state == DONE:
        counts = run.record.process_counts
        resumed = f"  (trained by {', then '.join(map(str, counts))} processes)" if len(counts) > 1 else ""
        metrics = metrics_text(run.record.metrics, run.record.absent_classes)
        text = f"{metrics}  ({run.record.seconds:.0f} s){resumed}"
        console.print(f"done  {run.name}  {text}", **PLAIN)
    else:
        console.print(
            f"died  {run.name}: {run.why}; it resumes from its last checkpoint; "
            f"log: {work_dir / run.name / 'log.txt'}",
            style="yellow",
            **PLAIN,
        )
