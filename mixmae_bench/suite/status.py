"""Command `mixmae-bench status`: list which runs of a suite are done, stale, running, failed or missing."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mixmae_bench.errors import UserError
from mixmae_bench.results.metrics import metrics_text
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import read_all_records
from mixmae_bench.suite.identity import summary
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import failure, is_running, progress
from mixmae_bench.suite.recipes import with_recipes
from mixmae_bench.suite.spec import Suite
from mixmae_bench.suite.stale import is_stale, last_record, what_changed
from mixmae_bench.suite.versions import holding

STYLES = {"done": "green", "stale": "yellow", "running": "cyan", "failed": "red", "missing": "dim"}


@dataclass(frozen=True)
class State:
    """State of a run: a key of `STYLES`, and a text with details."""

    name: str
    detail: str


def show_status(suite: Suite, work_dir: Path, rescale: bool, processes: int, console: Console) -> None:
    """Print a row per run of a suite, and the number of runs in each state.

    Args:
        suite: The suite.
        work_dir: Folder of all results.
        rescale: As given to `run`.
        processes: Number of processes per run, as given to `run`.
        console: Where to print.

    Raises:
        UserError: If a config or its data is missing.
    """
    records, complaints = read_all_records(work_dir)
    for complaint in complaints:
        console.print(f"warning: {complaint}", style="yellow", soft_wrap=True, markup=False)
    plans, untuned = _plans(suite, rescale, lambda cfg: processes, {record.key for record in records})
    kept, raised = holding(suite, plans, records)
    records = kept + raised
    states = {name: state(planned, records, work_dir) for name, planned in plans.items()}
    table = Table("run", "state", "", box=None)
    for name, own in states.items():
        table.add_row(name, f"[{STYLES[own.name]}]{own.name}[/]", Text(own.detail))
    console.print(table)
    counts = {name: sum(own.name == name for own in states.values()) for name in STYLES}
    console.print(", ".join(f"{n} {name}" for name, n in counts.items() if n) + f"; folder {work_dir}")
    if untuned:
        console.print(f"runs of the results are not listed: {untuned}", soft_wrap=True, markup=False)


def _plans(
    suite: Suite, rescale: bool, processes: Callable[[Config], int], recorded: Collection[str]
) -> tuple[dict[str, Plan], str]:
    """Return the plans of all runs; without recipes that fit, those of the tuning only, and the reason."""
    try:
        suite, untuned = with_recipes(suite, rescale, processes), ""
    except UserError as error:
        if not suite.tuning_runs():
            raise
        untuned = str(error)
    runs = suite.tuning_runs() if untuned else suite.all_runs()
    return plan(suite, rescale, processes, recorded, runs), untuned


def state(planned: Plan, records: list[Record], work_dir: Path) -> State:
    """Return the state of a run.

    A run is stale if its folder, or the last record of its method, task and seed, has another identity: `run`
    repeats it and keeps the old folder. A run that another version of the code made is done: `run` does not
    repeat it.
    """
    folder = work_dir / planned.run.name
    if is_running(folder):
        return State("running", progress(folder)[1])
    same = [r for r in records if r.key == planned.key]
    if same:
        last = same[-1]
        same_code = last.code_hash == planned.code_hash
        other = "" if same_code else f"; made by another version of the code, {last.code}"
        return State("done", metrics_text(last.metrics, last.absent_classes) + other)
    stale = is_stale(folder, planned)
    if not stale and (reason := failure(folder)):
        return State("failed", f"{reason}; log: {folder / 'log.txt'}")
    if stale or last_record(planned, records):
        return State("stale", summary(what_changed(planned, folder, records)))
    return State("missing", "")
