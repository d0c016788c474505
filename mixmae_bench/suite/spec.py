"""Reading a suite file: which methods, tasks and seeds, by which configs."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from mixmae_bench.errors import UserError, did_you_mean

PRETRAINING = "pretraining"
TASKS = ("classification", "detection", "segmentation")


@dataclass(frozen=True)
class Method:
    """What a backbone starts from: a pretraining run, a checkpoint, or (neither) random weights."""

    name: str
    pretrain: Path | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Cell:
    """One run of the grid; `task` is 'pretraining' or one of `TASKS`."""

    method: Method
    task: str
    seed: int
    config: Path

    @property
    def name(self) -> str:
        return f"{self.method.name}/seed{self.seed}/{self.task}"

    @property
    def parent(self) -> str | None:
        """Name of the pretraining cell that this one starts from, if there is one."""
        if self.task == PRETRAINING or self.method.pretrain is None:
            return None
        return f"{self.method.name}/seed{self.seed}/{PRETRAINING}"


@dataclass(frozen=True)
class Suite:
    """A suite file; see `configs/suites/digits.yaml` for a commented one."""

    path: Path
    name: str
    version: int
    dataset: str
    methods: dict[str, Method]
    tasks: dict[str, Path]
    seeds: list[int]
    minutes: dict[str, float]

    def cells(self) -> list[Cell]:
        """Return the grid, seed by seed, pretraining before what starts from it."""
        cells = []
        for seed in self.seeds:
            for method in self.methods.values():
                if method.pretrain:
                    cells.append(Cell(method, PRETRAINING, seed, method.pretrain))
                cells += [Cell(method, task, seed, config) for task, config in self.tasks.items()]
        return cells


def read_suite(path: str | Path, seeds: list[int] | None = None, methods: list[str] | None = None) -> Suite:
    """Read and check a suite file; `seeds` and `methods` narrow or replace what it names.

    Raises:
        UserError: Where the file or a config it names is missing, or a key, method or task is unknown.
    """
    path = Path(path)
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.yaml")])
        raise UserError(f"suite {path} does not exist; check the path.{near}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"suite {path} is not YAML: {' '.join(str(error).split())}") from error
    _check_keys(
        content, ("name", "version", "dataset", "methods", "tasks", "seeds", "minutes"), f"suite {path}"
    )
    seeds = content["seeds"] if seeds is None else seeds
    if not isinstance(seeds, list) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
        raise UserError(
            f"suite {path}: seeds must be a list of non-negative integers, such as [0, 1, 2], not {seeds!r}"
        )
    if len(set(seeds)) != len(seeds):
        raise UserError(f"suite {path}: a seed is named twice in {seeds}")
    if not isinstance(content["version"], int) or not isinstance(content["name"], str):
        raise UserError(f"suite {path}: name must be a string and version an integer")

    known = {
        name: _read_method(name, value, path) for name, value in _mapping(content, "methods", path).items()
    }
    chosen = list(known) if methods is None else methods
    for name in chosen:
        if name not in known:
            raise UserError(
                f"unknown method '{name}': suite {path} has {', '.join(known)}.{did_you_mean(name, known)}"
            )
    tasks = {}
    for task, config in _mapping(content, "tasks", path).items():
        if task not in TASKS:
            near = did_you_mean(str(task), TASKS)
            raise UserError(f"suite {path}: unknown task '{task}'; known: {', '.join(TASKS)}.{near}")
        tasks[task] = _file(config, f"task '{task}'", path)
    minutes = content["minutes"]
    if (
        not isinstance(minutes, dict)
        or set(minutes) != {PRETRAINING, *tasks}
        or not all(type(value) in (int, float) and value > 0 for value in minutes.values())
    ):
        raise UserError(
            f"suite {path}: minutes must hold one number for each of "
            f"{', '.join((PRETRAINING, *tasks))}, all above 0"
        )
    return Suite(
        path,
        content["name"],
        content["version"],
        content["dataset"],
        {name: known[name] for name in chosen},
        tasks,
        seeds,
        minutes,
    )


def _read_method(name: str, value: object, path: Path) -> Method:
    value = {} if value is None else value
    # The name becomes that of a folder, which is removed when its run is stale.
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"suite {path}: a method's name is letters, digits and .+-_, not {name!r}")
    where = f"suite {path}, method '{name}'"
    if not isinstance(value, dict):
        raise UserError(f"{where}: give `pretrain: CONFIG` or `checkpoint: FILE`, not {value!r}")
    for key in value:
        if key not in ("pretrain", "checkpoint"):
            raise UserError(
                f"{where}: unknown key '{key}'.{did_you_mean(str(key), ('pretrain', 'checkpoint'))}"
            )
    if len(value) == 2:
        raise UserError(f"{where}: give `pretrain` or `checkpoint`, not both")
    if not value and name != "scratch":
        raise UserError(
            f"unknown method '{name}' in suite {path}: only 'scratch' starts from random weights; "
            f"give it `pretrain: CONFIG` or `checkpoint: FILE`"
        )
    return Method(name, **{key: _file(file, f"method '{name}'", path) for key, file in value.items()})


def _file(name: object, where: str, suite: Path) -> Path:
    """Return a file that the suite names relative to its own folder."""
    file = suite.parent / str(name)
    if not file.is_file():
        near = did_you_mean(file.name, [p.name for p in file.parent.glob("*")])
        raise UserError(f"suite {suite}, {where}: {file} does not exist; check the path.{near}")
    return file


def _mapping(content: dict, key: str, path: Path) -> dict:
    if not isinstance(content[key], dict) or not content[key]:
        raise UserError(f"suite {path}: '{key}' must be a mapping with at least one entry")
    return content[key]


def _check_keys(content: object, known: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise UserError(f"{where} must be a mapping with the keys {', '.join(known)}")
    for key in content:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), known)}")
    for key in known:
        if key not in content:
            raise UserError(f"{where}: key '{key}' is missing")
