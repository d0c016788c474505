"""Recipes chosen by the tuning of a suite: choice, file, and check that they fit the suite."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import yaml
from mmengine.config import Config
from pydantic import BaseModel, Field

from mixmae_bench.engine.settings import SETTINGS
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import NEAR_TIE, at_border, best, main_metric
from mixmae_bench.suite.identity import key_of
from mixmae_bench.suite.plan import Plan, one_process, plan
from mixmae_bench.suite.spec import TUNED, Suite
from mixmae_bench.suite.tuning import Point
from mixmae_bench.system.files import write_atomically
from mixmae_bench.system.typed import read_yaml, typed

HEAD = """# Settings chosen by `mixmae-bench tune {name}` on the tuning split: the best point of each grid,
# or the first in the grid's order among points within {near} of the best. `run` compares `grid`.
"""

LIMITS = {name: (setting.least, setting.most) for name, setting in SETTINGS.items()}
"""Smallest and largest possible value of every setting; None without a largest."""


@dataclass(frozen=True)
class Choice:
    """The chosen point of a method and a task.

    Attributes:
        grid: Hash of the plans of all points: of the grid, the data, the config and the initial weights.
        settings: Chosen settings.
        metric: Name of the metric that they were chosen by.
        value: Its value on the tuning split.
        border: Settings at the border of the grid: a better value may lie outside.
    """

    grid: str
    settings: dict[str, float]
    metric: str
    value: float
    border: list[str]


def choose(
    suite: Suite, plans: Mapping[str, Plan], records: Collection[Record], diverged: Collection[str]
) -> dict[tuple[str, str], Choice]:
    """Return the choice for every method and task.

    Args:
        suite: The suite.
        plans: Plans of the tuning runs.
        records: Records of the tuning runs.
        diverged: Names of the runs that ended with a NaN or infinite loss; they are never chosen.

    Raises:
        UserError: If all runs of a method and task diverged.
    """
    found = {record.key: record for record in records}
    choices = {}
    for (method, task), own in _grids(plans).items():
        finite = {p.key: p for p in own if p.run.name not in diverged}
        if not finite:
            raise UserError(
                f"suite {suite.path}: all {len(own)} points of {method}, {task} diverged; lower the learning "
                "rates of the grid"
            )
        record = best([found[key] for key in finite])
        settings, name = dict(finite[record.key].run.settings), main_metric(record)
        border = at_border(settings, [dict(planned.run.settings) for planned in own], LIMITS)
        choices[method, task] = Choice(_grid_hash(own), settings, name, record.metrics[name], border)
    return choices


def write_recipes(suite: Suite, choices: Mapping[tuple[str, str], Choice]) -> None:
    """Write the choices to the file that the suite names."""
    recipes: dict[str, dict[str, dict]] = {}
    for (method, task), choice in choices.items():
        recipes.setdefault(method, {})[task] = vars(choice)
    content = {"suite": suite.name, "version": suite.version, "recipes": recipes}
    head = HEAD.format(name=suite.name, near=NEAR_TIE)
    write_atomically(suite.recipes, head + yaml.safe_dump(content, sort_keys=False, default_flow_style=None))


def with_recipes(
    suite: Suite, rescale: bool = False, processes: Callable[[Config], int] = one_process
) -> Suite:
    """Return a suite with its chosen settings; a suite of another protocol is returned as it is.

    Raises:
        UserError: If the file of recipes is missing or invalid, or was chosen for another grid, other data,
            configs or initial weights.
    """
    if suite.protocol != TUNED:
        return suite
    remedy = f"run `mixmae-bench tune {suite.path}` first"
    if not suite.recipes.is_file():
        raise UserError(f"suite {suite.path}: its recipes {suite.recipes} do not exist; {remedy}")
    where = f"recipes {suite.recipes}"
    file = typed(_RecipesFile, read_yaml(suite.recipes, where), where)
    chosen: dict[tuple[str, str], Point] = {}
    for (method, task), own in _grids(plan(suite, rescale, processes, runs=suite.tuning_runs())).items():
        entry = file.recipes.get(method, {}).get(task)
        if entry is None:
            raise UserError(f"{where} have no entry for {method}, {task}; {remedy}")
        choice = typed(_Entry, entry, f"{where}, {method}, {task}")
        same = [planned.run.settings for planned in own if dict(planned.run.settings) == choice.settings]
        if choice.grid != _grid_hash(own) or not same:
            raise UserError(
                f"{where}: {method}, {task} was chosen for another grid, other data, or another config; "
                f"{remedy}"
            )
        chosen[method, task] = same[0]
    return replace(suite, chosen=chosen)


class _RecipesFile(BaseModel, strict=True):
    """Keys of a file of recipes."""

    suite: str
    version: int
    recipes: dict[str, dict[str, dict]] = Field(
        description="recipes must be a mapping from methods to mappings from tasks to choices"
    )


class _Entry(BaseModel, strict=True):
    """Keys of a choice in a file of recipes."""

    grid: str
    settings: dict[str, int | float]
    metric: str
    value: float
    border: list[str]


def _grids(plans: Mapping[str, Plan]) -> dict[tuple[str, str], list[Plan]]:
    """Return the plans of the points of each grid, in the grid's order, by method and task."""
    grids: dict[tuple[str, str], list[Plan]] = {}
    for planned in plans.values():
        if planned.run.split:
            grids.setdefault((planned.run.method.name, planned.run.task), []).append(planned)
    return grids


def _grid_hash(plans: Collection[Plan]) -> str:
    return hashlib.sha256(json.dumps([key_of(p.identity) for p in plans]).encode()).hexdigest()[:16]
