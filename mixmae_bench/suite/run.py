"""Planning a suite and running what is missing, side by side, behind one progress bar."""

import copy
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import torch
from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mixmae_bench.batch import fit_lr
from mixmae_bench.config import check_model, check_training, find_data, load_config
from mixmae_bench.data.checks import check_datasets
from mixmae_bench.environment import cores
from mixmae_bench.errors import UserError
from mixmae_bench.files import check_writable, write_atomically
from mixmae_bench.record import Record, read_records
from mixmae_bench.report.page import write_report
from mixmae_bench.report.suite import metrics_text, suite_table
from mixmae_bench.report.table import markdown
from mixmae_bench.suite.job import Job, final_checkpoint, reason
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import note_failure, progress
from mixmae_bench.suite.spec import PRETRAINING, Suite
from mixmae_bench.suite.workers import Workers
from mixmae_bench.trackers import check_trackers
from mixmae_bench.transfer.audit import try_checkpoint

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_BETWEEN_TRIES = 5.0
"""Before a cell is tried again that another process is at."""

DEATHS = 2
"""A cell whose process was killed is run again, as it may not have been its fault, until this many times."""

PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""How to print names and paths: whole, and as they are."""


def run_suite(
    suite: Suite,
    work_dir: Path,
    jobs: int,
    rescale: bool,
    trackers: tuple[str, ...],
    console: Console,
    processes: int = 1,
    workers: Workers | None = None,
) -> int:
    """Run every cell of a suite that has no record yet, and write `records.jsonl` and `table.md`.

    Several such runs on one folder share the work.

    Args:
        suite: What to run.
        work_dir: Folder of all results; every cell gets a folder of its own in it.
        jobs: Cells to run side by side; they share the CPU's cores evenly.
        rescale: Whether to scale learning rates to the effective batch (see `batch.fit_lr`).
        trackers: Names of what the runs also log to (see `trackers.track`).
        console: Where the progress and the table go.
        processes: How many train each cell together, with a GPU each where there are GPUs.
        workers: What runs the cells, `jobs` of them side by side (default: processes of this machine).

    Returns:
        The number of cells that failed.

    Raises:
        UserError: Where a config, its data or a checkpoint does not fit, before anything is run.
    """
    if "RANK" in os.environ:
        raise UserError("mixmae-bench run starts its processes itself: without torchrun, with --processes N")
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UserError(f"--processes is {processes}; this machine has {torch.cuda.device_count()} GPUs")
    workers = workers or Workers(jobs, processes)
    check_suite(suite, rescale, workers.processes)
    check_trackers(trackers)
    check_writable(work_dir)
    records = work_dir / "records.jsonl"
    plans = plan(suite, rescale)
    done = _done(plans, records, work_dir, console)
    todo = {name: planned for name, planned in plans.items() if name not in done}
    console.print(
        f"suite {suite.name}: {len(plans)} cells, {len(done)} done, {len(todo)} to run; folder {work_dir}",
        **PLAIN,
    )
    failed = {}
    if todo:
        threads = max(1, cores() // (jobs * processes))

        def job_of(planned: Plan) -> Job:
            return _job(suite, planned, work_dir, threads, rescale, trackers)

        failed = _run_cells(suite, todo, work_dir, jobs, job_of, console, workers)
    keys = {planned.key for planned in plans.values()}
    results = [record for record in read_records(records)[0] if record.key in keys]
    table = markdown(suite_table(suite.name, results))
    if results:
        write_atomically(work_dir / "table.md", table)
        console.print(table, **PLAIN)
        console.print(f"written: {work_dir / 'table.md'}, {records}", **PLAIN)
        console.print(f"report: {write_report(suite, work_dir)}", **PLAIN)
    for name, why in failed.items():
        console.print(f"failed: {name}: {why}; log: {work_dir / name / 'log.txt'}", style="red", **PLAIN)
    return len(failed)


def check_suite(suite: Suite, rescale: bool, processes: Callable[[Config], int]) -> None:
    """Read every config, look for its data and try every given checkpoint, before anything is run.

    Raises:
        UserError: At the first thing that does not fit.
    """
    configs = {cell.config: load_config(cell.config) for cell in suite.cells()}
    for cfg in configs.values():
        check_training(cfg)
        if cfg.get("load_from"):
            raise UserError(
                f"config {cfg.filename}: a suite says itself what its runs start from, instead of load_from; "
                f"give `methods: {{NAME: {{checkpoint: {cfg.load_from}}}}}`"
            )
        check_datasets(find_data(cfg, by_option=False))
        check_model(cfg)
        fit_lr(copy.deepcopy(cfg), processes(cfg), rescale)
    for method in suite.methods.values():
        if method.checkpoint:
            for task in method.tasks:
                if task.after is None:
                    try_checkpoint(configs[task.config], method.checkpoint)


def _done(plans: dict[str, Plan], records: Path, work_dir: Path, console: Console) -> set[str]:
    """Return the cells that have a record; one that others wait for needs its checkpoint too."""
    found, complaints = read_records(records)
    for complaint in complaints:
        console.print(f"warning: {complaint}", style="yellow", **PLAIN)
    code = {record.key: record.code_hash for record in found}
    done = {name for name, planned in plans.items() if planned.key in code}
    other = sum(code[plans[name].key] != plans[name].code_hash for name in done)
    if other:
        console.print(f"{other} of the cells that are done were made by other code (mixmae-bench status)")
    for name, planned in reversed(plans.items()):  # last first, as a chain of runs needs every link
        parent = planned.cell.parent
        if parent in done and name not in done and final_checkpoint(work_dir / parent) is None:
            done.discard(parent)
    return done


def _run_cells(
    suite: Suite,
    todo: dict[str, Plan],
    work_dir: Path,
    jobs: int,
    job_of: Callable[[Plan], Job],
    console: Console,
    workers: Workers,
) -> dict[str, str]:
    """Run cells side by side; return the reason of each failure."""
    # Pretraining first, as others wait for it; then the longest first, so that the last ones are short.
    waiting = sorted(
        todo.values(), key=lambda p: (p.cell.task != PRETRAINING, -suite.minutes.get(p.cell.task, 1))
    )
    running: dict[Future, Plan] = {}
    finished: dict[str, float] = {}
    failed: dict[str, str] = {}
    began: dict[str, float] = {}
    elsewhere: dict[str, float] = {}  # cells that another process is at, and when to look again
    deaths: Counter[str] = Counter()
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
            while waiting or running:
                now = time.monotonic()
                for planned in list(waiting):
                    name, parent = planned.cell.name, planned.cell.parent
                    if parent in failed:
                        waiting.remove(planned)
                        failed[name] = f"{parent} failed"
                    elif (
                        workers.free
                        and elsewhere.get(name, now) <= now
                        and not (parent in todo and parent not in finished)
                    ):
                        waiting.remove(planned)
                        began[name] = now
                        running[workers.submit(job_of(planned))] = planned
                time.sleep(SECONDS_BETWEEN_LOOKS)
                for future in [future for future in running if future.done()]:
                    planned = running.pop(future)
                    name = planned.cell.name
                    if not workers.release(future):
                        deaths[name] += 1
                        if deaths[name] < DEATHS:
                            waiting.insert(0, planned)  # it goes on from its last checkpoint
                            continue
                        failed[name] = f"its process was killed {deaths[name]} times (out of memory?)"
                        note_failure(work_dir / name, failed[name])
                    elif error := future.exception():
                        failed[name] = reason(error)
                    elif record := future.result():
                        finished[name] = time.monotonic() - began[name]
                        _report(record, name, console)
                    else:
                        elsewhere[name] = time.monotonic() + SECONDS_BETWEEN_TRIES
                        waiting.append(planned)
                    if name in failed:
                        console.print(f"failed  {name}", style="red")
                cells = [planned.cell.name for planned in running.values()]
                share, left = _estimate(suite, todo, cells, finished, began, failed, work_dir, jobs)
                bar.update(
                    task,
                    completed=share,
                    count=f"{len(finished)}/{len(todo)}",
                    left=f"{_time_text(left)} left",
                    now=" | ".join(f"{name} {progress(work_dir / name)[1]}" for name in cells)
                    or ("waiting for cells of another run" if waiting else ""),
                )
    except KeyboardInterrupt:
        raise UserError(f"stopped; {workers.after_stop}") from None
    finally:
        workers.stop()
    console.print(f"ran {len(finished)} of {len(todo)} cells in {_time_text(time.monotonic() - clock)}")
    return failed


def _job(
    suite: Suite, planned: Plan, work_dir: Path, threads: int, rescale: bool, trackers: tuple[str, ...]
) -> Job:
    parent = planned.cell.parent
    return Job(
        suite=suite.name,
        suite_file=suite.path,
        suite_version=suite.version,
        dataset=planned.cell.dataset,
        plan=planned,
        folder=work_dir / planned.cell.name,
        records=work_dir / "records.jsonl",
        parent=work_dir / parent if parent else None,
        threads=threads,
        rescale=rescale,
        trackers=trackers,
    )


def _estimate(
    suite: Suite,
    todo: dict[str, Plan],
    running: list[str],
    finished: dict[str, float],
    began: dict[str, float],
    failed: dict[str, str],
    work_dir: Path,
    jobs: int,
) -> tuple[float, float]:
    """Return the share of the suite that is done and the seconds left.

    A cell is expected to take as long as the finished ones of its task did, or the suite's `minutes`.
    """
    took: dict[str, list[float]] = {}
    tasks = {name: planned.cell.task for name, planned in todo.items()}
    for name, seconds in finished.items():
        took.setdefault(tasks[name], []).append(seconds)
    expected = {t: 60 * suite.minutes.get(t, 1) for t in (PRETRAINING, *suite.tasks)}
    expected |= {t: sum(seconds) / len(seconds) for t, seconds in took.items()}
    shares = {name: progress(work_dir / name)[0] for name in running}
    for name, share in shares.items():
        if share > 0.1:  # enough of this run to know its pace
            expected[name] = (time.monotonic() - began[name]) / share
    total = left = 0.0
    for name, task in tasks.items():
        seconds = expected.get(name, expected[task])
        total += seconds
        if name not in finished and name not in failed:
            left += seconds * (1 - shares.get(name, 0.0))
    return 1 - left / total, left / min(jobs, max(1, len(todo) - len(finished) - len(failed)))


def _time_text(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _report(record: Record, name: str, console: Console) -> None:
    console.print(
        f"done  {name}  {metrics_text(record.metrics)}  ({record.seconds:.0f} s)",
        **PLAIN,
    )


def default_jobs(executor: str | None, processes: int) -> int:
    """Return how many cells to run side by side.

    On Slurm sixteen; one on GPUs (one per GPU as jobs of submitit), else as many as give each process a core,
    at most four.
    """
    if executor == "slurm":
        return 16
    if torch.cuda.is_available():
        return torch.cuda.device_count() if executor else 1
    return max(1, min(4, cores() // processes))
