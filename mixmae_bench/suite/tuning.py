"""Tuning of a suite: the grid of settings of every task, and the split on which they are chosen."""

import math
from dataclasses import dataclass
from itertools import product

from pydantic import BaseModel, Field

from mixmae_bench.engine.settings import SETTINGS
from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.system.typed import typed

Point = tuple[tuple[str, float], ...]
"""Values of settings by name, as pairs: a point of a grid."""

MOST_POINTS = 12
"""Points of a task's grid; every point is a training for every initialisation."""


@dataclass(frozen=True)
class Split:
    """A tuning split: share of the training images, and the seed of their choice."""

    share: float
    seed: int


@dataclass(frozen=True)
class Tuning:
    """Tuning of a suite.

    Attributes:
        split: The tuning split. Its seed is the seed of the tuning runs and their pretraining, too.
        grids: Points by task, in the order of the file: the last setting varies fastest.
    """

    split: Split
    grids: dict[str, tuple[Point, ...]]


class _TuningFile(BaseModel, strict=True):
    """Keys of `tuning` in a suite file."""

    share: float = Field(
        gt=0, le=0.5, description="share must be a number above 0 and at most 0.5, such as 0.2, not {!r}"
    )
    seed: int = Field(ge=0, lt=2**32, description="seed must be a non-negative integer below 2^32, not {!r}")
    grid: dict = Field(description="grid must be a mapping from tasks to settings, not {!r}")


def read_tuning(content: object, tasks: list[str], where: str) -> Tuning:
    """Read the key `tuning` of a suite file.

    Args:
        content: Its value.
        tasks: Names of the suite's tasks; each must have a grid.
        where: The file and the key, for messages.

    Raises:
        UserError: If a key, task, setting or value does not fit, or a grid has more than `MOST_POINTS`
            points.
    """
    file = typed(_TuningFile, content, where)
    for task in file.grid:
        if task not in tasks:
            raise UserError(f"{where}: unknown task '{task}' in grid.{did_you_mean(str(task), tasks)}")
    for task in tasks:
        if task not in file.grid:
            raise UserError(
                f"{where}: task '{task}' has no grid; give one, or {{}} to keep its config's recipe"
            )
    grids = {task: _points(file.grid[task], f"{where}, grid of task '{task}'") for task in tasks}
    return Tuning(Split(file.share, file.seed), grids)


def _points(grid: object, where: str) -> tuple[Point, ...]:
    if not isinstance(grid, dict):
        raise UserError(f"{where} must be a mapping from settings to lists of values")
    for name, values in grid.items():
        if name not in SETTINGS:
            near = did_you_mean(str(name), SETTINGS)
            raise UserError(f"{where}: unknown setting '{name}'; known: {', '.join(SETTINGS)}.{near}")
        _check_values(name, values, where)
    if {"epochs", "iterations"} <= grid.keys():
        raise UserError(f"{where}: give `epochs` or `iterations`, as the config counts, not both")
    points = tuple(
        tuple(zip(grid, values, strict=True)) for values in product(*grid.values())
    )  # product() of nothing is one empty point
    if len(points) > MOST_POINTS:
        raise UserError(f"{where} has {len(points)} points; give at most {MOST_POINTS}")
    return points


def _check_values(name: str, values: object, where: str) -> None:
    setting = SETTINGS[name]
    kinds = (int,) if setting.whole else (int, float)
    most = math.inf if setting.most is None else setting.most
    if (
        not isinstance(values, list)
        or not values
        or not all(type(v) in kinds and setting.least <= v <= most and v < math.inf for v in values)
    ):
        kind = "integers" if setting.whole else "numbers"
        raise UserError(
            f"{where}: '{name}' must be a list of {kind} of at least {setting.least:g}"
            + ("" if setting.most is None else f" and at most {setting.most:g}")
            + f", not {values!r}"
            + (" (YAML reads 1e-3 as text: write 1.0e-3)" if "e" in str(values) else "")
        )
    if len({f"{value:g}" for value in values}) < len(values):
        raise UserError(f"{where}: a value of '{name}' is given twice in {values}")
