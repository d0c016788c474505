"""Planning a suite and running what is missing, side by side, behind one progress bar."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mixmae_bench.config import check_model, content_hash, find_data, load_config
from mixmae_bench.environment import cores
from mixmae_bench.errors import UserError
from mixmae_bench.record import Record, read_records
from mixmae_bench.registry import MODELS
from mixmae_bench.report.table import metrics_text, suite_table
from mixmae_bench.suite.cell import Job, file_hash, final_checkpoint, run_job
from mixmae_bench.suite.hooks import write_atomically
from mixmae_bench.suite.spec import PRETRAINING, Cell, Suite
from mixmae_bench.transfer.load import load_backbone

SECONDS_BETWEEN_LOOKS = 0.25

PLAIN = dict(soft_wrap=True, markup=False, highlight=False)
"""How to print names and paths: whole, and as they are."""


def run_suite(suite: Suite, work_dir: Path, jobs: int, console: Console) -> int:
    """Run every cell of a suite that has no record yet, and write `records.jsonl` and `table.md`.

    Args:
        suite: What to run.
        work_dir: Folder of all results; every cell gets a folder of its own in it.
        jobs: Cells to run side by side; they share the CPU's cores evenly.
        console: Where the progress and the table go.

    Returns:
        The number of cells that failed.

    Raises:
        UserError: Where a config, its data or a checkpoint does not fit, before anything is run.
    """
    check_suite(suite)
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--work-dir {work_dir} cannot be a folder ({error.strerror}); name another"
        ) from error
    records = work_dir / "records.jsonl"
    keys = cell_keys(suite)
    done = _done(suite, keys, records, work_dir, console)
    todo = [cell for cell in suite.cells() if cell.name not in done]
    total = len(suite.cells())
    console.print(
        f"suite {suite.name}: {total} cells, {len(done)} done, {len(todo)} to run; folder {work_dir}", **PLAIN
    )
    failed = {}
    if todo:
        failed = _run_cells(suite, todo, keys, work_dir, jobs, console)
    results, _ = read_records(records)
    results = [r for r in results if r.key in set(keys.values())]
    table = suite_table(suite.name, results)
    if results:
        write_atomically(work_dir / "table.md", table)
        console.print(table, **PLAIN)
        console.print(f"written: {work_dir / 'table.md'}, {records}", **PLAIN)
    for name, reason in failed.items():
        console.print(
            f"failed: {name}: {reason}; log: {work_dir / name / 'log.txt'}",
            style="red",
            **PLAIN,
        )
    return len(failed)


def check_suite(suite: Suite) -> None:
    """Read every config, look for its data and try every given checkpoint, before anything is run.

    Raises:
        UserError: At the first thing that does not fit.
    """
    configs = {cell.config: load_config(cell.config) for cell in suite.cells()}
    for path, cfg in configs.items():
        for key in ("model", "train_dataloader", "optim_wrapper", "train_cfg"):
            if not cfg.get(key):
                raise UserError(f"config {path} has no '{key}': it does not train; name another in the suite")
        find_data(cfg, by_option=False)
        check_model(cfg)
    for method in suite.methods.values():
        if method.checkpoint:
            for config in suite.tasks.values():
                load_backbone(MODELS.build(configs[config].model.backbone), method.checkpoint)


def cell_keys(suite: Suite) -> dict[str, str]:
    """Return the content key of every cell: a hash of its config, its seed and what it starts from."""
    keys = {}
    for cell in suite.cells():
        start = keys[cell.parent] if cell.parent else "random"
        if cell.method.checkpoint:
            start = file_hash(cell.method.checkpoint)
        text = json.dumps([content_hash(load_config(cell.config)), cell.seed, start])
        keys[cell.name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return keys


def _done(suite: Suite, keys: dict[str, str], records: Path, work_dir: Path, console: Console) -> set[str]:
    """Return the cells that have a record; a pretraining that others wait for needs its checkpoint too."""
    found, complaints = read_records(records)
    for complaint in complaints:
        console.print(f"warning: {complaint}", style="yellow", **PLAIN)
    recorded = {r.key for r in found}
    done = {name for name, key in keys.items() if key in recorded}
    for cell in suite.cells():
        if cell.parent in done and cell.name not in done and final_checkpoint(work_dir / cell.parent) is None:
            done.discard(cell.parent)
    return done


def _run_cells(
    suite: Suite, todo: list[Cell], keys: dict[str, str], work_dir: Path, jobs: int, console: Console
) -> dict[str, str]:
    """Run cells in `jobs` processes that live for the whole suite; return the reason of each failure."""
    names = {cell.name for cell in todo}
    # Pretraining first, as others wait for it; then the longest first, so that the last ones are short.
    waiting = sorted(todo, key=lambda cell: (cell.task != PRETRAINING, -suite.minutes[cell.task]))
    running: dict[Future, Cell] = {}
    finished: dict[str, float] = {}
    failed: dict[str, str] = {}
    threads = max(1, cores() // jobs)
    clock = time.monotonic()
    began: dict[str, float] = {}
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_follow_parent)
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
                for cell in list(waiting):
                    if cell.parent in failed:
                        waiting.remove(cell)
                        failed[cell.name] = f"{cell.parent} failed"
                    elif len(running) < jobs and not (cell.parent in names and cell.parent not in finished):
                        waiting.remove(cell)
                        job = _job(suite, cell, keys[cell.name], work_dir, threads)
                        began[cell.name] = time.monotonic()
                        running[pool.submit(run_job, job)] = cell
                for future in wait(running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED).done:
                    cell = running.pop(future)
                    try:
                        _report(future.result(), cell, console)
                        finished[cell.name] = time.monotonic() - began[cell.name]
                    except BrokenProcessPool:
                        # One dead worker ends the pool: what ran beside it is lost with it.
                        for other in [cell, *running.values(), *waiting]:
                            failed[other.name] = "a worker process was killed (out of memory?)"
                        waiting, running = [], {}
                        break
                    except Exception as error:
                        failed[cell.name] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                        console.print(f"failed  {cell.name}", style="red")
                share, left = _estimate(
                    suite, todo, running.values(), finished, began, failed, work_dir, jobs
                )
                now = " | ".join(f"{c.name} {_progress(work_dir / c.name)[1]}" for c in running.values())
                bar.update(
                    task,
                    completed=share,
                    count=f"{len(finished)}/{len(todo)}",
                    left=f"{_time_text(left)} left",
                    now=now,
                )
    except KeyboardInterrupt:
        for process in list(pool._processes.values()):
            process.kill()
        raise UserError("stopped; the same command goes on where it was") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    console.print(f"ran {len(finished)} of {len(todo)} cells in {_time_text(time.monotonic() - clock)}")
    return failed


def _follow_parent() -> None:
    """Make a worker end when the suite's process does, however that ended, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _job(suite: Suite, cell: Cell, key: str, work_dir: Path, threads: int) -> Job:
    """Prepare a cell's folder: what another config, checkpoint or seed left there is removed."""
    folder = work_dir / cell.name
    note = folder / "key"
    if folder.exists() and not (note.is_file() and note.read_text(encoding="utf-8") == key):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(note, key)
    return Job(
        cell=cell,
        suite=suite.name,
        suite_file=suite.path,
        suite_version=suite.version,
        dataset=suite.dataset,
        key=key,
        folder=folder,
        records=work_dir / "records.jsonl",
        parent=work_dir / cell.parent if cell.parent else None,
        threads=threads,
    )


def _progress(folder: Path) -> tuple[float, str]:
    """Return the share of a running cell that is done, and its last words."""
    try:
        note = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.0, "starting"
    share = note["iter"] / note["max_iters"]
    return share, f"{100 * share:.0f}% {note['text']}" if share < 1 else "evaluating"


def _estimate(
    suite: Suite,
    todo: list[Cell],
    running: list[Cell],
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
    for cell in todo:
        if cell.name in finished:
            took.setdefault(cell.task, []).append(finished[cell.name])
    expected = {t: sum(took[t]) / len(took[t]) if t in took else 60 * m for t, m in suite.minutes.items()}
    shares = {cell.name: _progress(work_dir / cell.name)[0] for cell in running}
    for name, share in shares.items():
        if share > 0.1:  # enough of this run to know its pace
            expected[name] = (time.monotonic() - began[name]) / share
    total = left = 0.0
    for cell in todo:
        seconds = expected.get(cell.name, expected[cell.task])
        total += seconds
        if cell.name not in finished and cell.name not in failed:
            left += seconds * (1 - shares.get(cell.name, 0.0))
    return 1 - left / total, left / min(jobs, max(1, len(todo) - len(finished) - len(failed)))


def _time_text(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _report(record: Record, cell: Cell, console: Console) -> None:
    console.print(
        f"done  {cell.name}  {metrics_text(record.metrics)}  ({record.seconds:.0f} s)",
        **PLAIN,
    )


def default_jobs() -> int:
    """Return how many cells to run side by side: one on a GPU, else one per core, at most four."""
    return 1 if torch.cuda.is_available() else min(4, cores())
