"""Tune a suite: execute the grids of all initialisations, and choose the settings of each."""

from pathlib import Path

from rich.console import Console

from mixmae_bench.engine.finite import NotFiniteError
from mixmae_bench.errors import UserError
from mixmae_bench.results.metrics import title
from mixmae_bench.results.tuning import label
from mixmae_bench.suite.executor import Executor
from mixmae_bench.suite.plan import plan
from mixmae_bench.suite.recipes import Choice, choose, write_recipes
from mixmae_bench.suite.run import PLAIN, run_suite
from mixmae_bench.suite.spec import TUNED, Suite
from mixmae_bench.suite.workers import Workers
from mixmae_bench.system.files import check_writable


def tune_suite(
    suite: Suite,
    work_dir: Path,
    jobs: int | None,
    rescale: bool,
    trackers: tuple[str, ...],
    console: Console,
    executor: Executor | None = None,
    rerun: bool = False,
) -> dict[str, str]:
    """Train and evaluate every point of the suite's grids, and write the recipes that the suite names.

    A point that diverges (NaN or infinite loss) is never chosen. If a run fails for another reason, no
    recipes are written, as every initialisation gets the whole grid.

    Args:
        suite: A suite of the protocol 'tuned'.
        work_dir, jobs, rescale, trackers, console, executor, rerun: See `run_suite`.

    Returns:
        The reason of each failure by run name, divergence excluded.

    Raises:
        UserError: If the suite has another protocol, and see `run_suite` and `choose`.
    """
    if suite.protocol != TUNED:
        raise UserError(
            f"suite {suite.path} has protocol '{suite.protocol}'; `tune` needs protocol: tuned, with a grid "
            "(docs/protocols.md)"
        )
    check_writable(suite.recipes.parent)
    executor = executor or Workers()
    records, failed = run_suite(
        suite, work_dir, jobs, rescale, trackers, console, executor, rerun, tuning=True
    )
    diverged = {name for name, why in failed.items() if why.startswith(NotFiniteError.__name__)}
    for name in sorted(diverged):
        console.print(f"diverged  {name}: never chosen", style="yellow", **PLAIN)
    failed = {name: why for name, why in failed.items() if name not in diverged}
    if failed:
        return failed
    plans = plan(suite, rescale, executor.processes, {r.key for r in records}, suite.tuning_runs())
    choices = choose(suite, plans, records, diverged)
    write_recipes(suite, choices)
    for (method, task), choice in choices.items():
        console.print(_text(method, task, choice), **PLAIN)
    console.print(f"written: {suite.recipes}", **PLAIN)
    return {}


def _text(method: str, task: str, choice: Choice) -> str:
    text = f"chosen  {method}/{task}  {label(choice.settings)}"
    text += f"  ({title(choice.metric)} {choice.value:.2f} on the tuning split)"
    if choice.border:
        text += f"; at the border of the grid: {', '.join(choice.border)}; widen the grid"
    return text
