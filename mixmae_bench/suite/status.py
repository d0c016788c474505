"""The command `mixmae-bench status`: what of a suite is done, stale (and why), running, failed or missing."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mixmae_bench.record import Record, read_records
from mixmae_bench.report.suite import metrics_text
from mixmae_bench.suite.plan import Plan, plan
from mixmae_bench.suite.progress import failure, is_running, progress
from mixmae_bench.suite.spec import Suite

STYLES = {"done": "green", "stale": "yellow", "running": "cyan", "failed": "red", "missing": "dim"}


@dataclass(frozen=True)
class State:
    """Where a cell stands: a key of `STYLES`, and what there is to say about it."""

    name: str
    detail: str


def show_status(suite: Suite, work_dir: Path, console: Console) -> None:
    """Print a row per cell of a suite and how many are in which state.

    Raises:
        UserError: Where a config or its data is missing.
    """
    records, complaints = read_records(work_dir / "records.jsonl")
    for complaint in complaints:
        console.print(f"warning: {complaint}", style="yellow", soft_wrap=True, markup=False)
    states = {name: state(planned, records, work_dir) for name, planned in plan(suite).items()}
    table = Table("cell", "state", "", box=None)
    for name, own in states.items():
        table.add_row(name, f"[{STYLES[own.name]}]{own.name}[/]", own.detail)
    console.print(table)
    counts = {name: sum(own.name == name for own in states.values()) for name in STYLES}
    console.print(", ".join(f"{n} {name}" for name, n in counts.items() if n) + f"; folder {work_dir}")


def state(planned: Plan, records: list[Record], work_dir: Path) -> State:
    """Return where a cell stands.

    A cell is stale where the last record of its method, task and seed was made from another config, other
    data or other weights: `run` makes it anew. Other code alone does not make `run` do so, and is said.
    """
    cell = planned.cell
    folder = work_dir / cell.name
    if is_running(folder):
        return State("running", progress(folder)[1])
    same = [r for r in records if r.key == planned.key]
    if same and same[-1].code_hash == planned.code_hash:
        return State("done", metrics_text(same[-1].metrics, same[-1].absent_classes))
    if same:
        return State(
            "stale",
            f"code: made by {same[-1].code}, kept; {metrics_text(same[-1].metrics, same[-1].absent_classes)}",
        )
    if reason := failure(folder):
        return State("failed", f"{reason}; log: {folder / 'log.txt'}")
    before = [r for r in records if (r.method, r.task, r.seed) == (cell.method.name, cell.task, cell.seed)]
    return State("stale", ", ".join(_changes(planned, before[-1]))) if before else State("missing", "")


def _changes(planned: Plan, record: Record) -> list[str]:
    changes = []
    if record.config_hash != planned.config_hash:
        changes.append(f"config: {planned.cell.config} is another than then")
    if record.data_hash != planned.data_hash:
        changes.append("data: the files are others than then")
    if not changes or (record.start, record.parent) != (planned.start, planned.parent):
        changes.append("checkpoint: it would start from other weights")
    return changes
