"""Read a suite file: its methods, tasks, seeds and configs."""

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.results.outline import PRETRAINING, Outline, OutlinedMethod, OutlinedTask
from mixmae_bench.results.tuning import PROTOCOLS, label
from mixmae_bench.suite.tuning import Point, Split, Tuning, read_tuning
from mixmae_bench.system.hub import is_source
from mixmae_bench.system.shipped import find_suite, names
from mixmae_bench.system.typed import read_yaml, typed

NAME = re.compile(r"\w[\w.+-]*")
"""Pattern of the names of suites, methods and tasks, which become names of folders."""

RANDOM, CHECKPOINT = "random", "checkpoint"
"""Initial weights of a run that does not start from another run."""


PUBLISHED, SHARED, TUNED = PROTOCOLS


@dataclass(frozen=True)
class Task:
    """A transfer task: its config, and the task that it starts from (None: the method's initial weights)."""

    name: str
    config: Path
    after: str | None = None


@dataclass(frozen=True)
class Method:
    """A method: its initial weights (from a pretraining run, a checkpoint, or random) and its tasks.

    Attributes:
        name: Name of the method.
        tasks: Its transfer tasks.
        pretrain: Config of its pretraining, or None.
        checkpoint: Checkpoint that its tasks start from: a file, or a name of `system.hub`, which also states
            the backbone in timm; or None.
        pretrained_by: Config of the pretraining that made the checkpoint, or None. Published values of this
            pretraining stand beside the method's.
        family: Name that the sizes of one method share, or None for the method's own.
    """

    name: str
    tasks: tuple[Task, ...]
    pretrain: Path | None = None
    checkpoint: Path | str | None = None
    pretrained_by: Path | None = None
    family: str | None = None

    @property
    def source(self) -> str | None:
        """The checkpoint if it is given by a name of `system.hub`, else None."""
        return self.checkpoint if is_source(self.checkpoint) else None

    @property
    def initialisation(self) -> str:
        """Initial weights of the tasks that do not start from another task."""
        if self.pretrain:
            return PRETRAINING
        return CHECKPOINT if self.checkpoint else RANDOM


@dataclass(frozen=True)
class Run:
    """One run of the grid.

    Attributes:
        method: Its method.
        task: 'pretraining' or the name of one of the method's tasks.
        seed: Random seed.
        config: Its config.
        dataset: Name of its data set.
        initialisation: Initial weights of its backbone: 'random', 'checkpoint' (the method's), or the task of
            its parent run, such as 'pretraining'.
        protocol: Protocol of the suite, one of `results.tuning.PROTOCOLS`.
        settings: Settings that replace those of the config.
        split: Tuning split that the run is evaluated on, or None for a result.
    """

    method: Method
    task: str
    seed: int
    config: Path
    dataset: str
    initialisation: str
    protocol: str = PUBLISHED
    settings: Point = ()
    split: Split | None = None

    @property
    def name(self) -> str:
        point = f"@{label(dict(self.settings))}" if self.split else ""
        return f"{self.method.name}/seed{self.seed}/{self.task}{point}"

    @property
    def recipe(self) -> tuple[Path, Point, Split | None, str | None]:
        """Everything that decides the config of the run (see `suite.configs`)."""
        return self.config, self.settings, self.split, self.method.source

    @property
    def parent(self) -> str | None:
        """Name of the run that this one starts from, if there is one."""
        if self.initialisation in (RANDOM, CHECKPOINT):
            return None
        return f"{self.method.name}/seed{self.seed}/{self.initialisation}"


@dataclass(frozen=True)
class Suite:
    """A suite file; see `configs/suites/digits.yaml` for a commented one.

    Attributes:
        path: The file.
        name: Name of the suite.
        version: Incremented with every change after which results are not comparable.
        dataset: Name of the data set, or None to take it from the configs' names (after the last '_').
        methods: Rows of the grid, by name.
        seeds: Seeds of every run.
        minutes: Expected minutes of a run by task, or empty.
        metrics: Names of the metrics by task, for the columns of tables before there are records.
        protocol: One of `results.tuning.PROTOCOLS`.
        tuning: Tuning of the protocol 'tuned', else None.
        recipes: File of the chosen settings of the protocol 'tuned', else None; it may not exist yet.
        chosen: Chosen settings by method and task (see `suite.recipes`).
    """

    path: Path
    name: str
    version: int
    dataset: str | None
    methods: dict[str, Method]
    seeds: list[int]
    minutes: dict[str, float]
    metrics: dict[str, tuple[str, ...]]
    protocol: str = PUBLISHED
    tuning: Tuning | None = None
    recipes: Path | None = None
    chosen: dict[tuple[str, str], Point] = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """Names of all methods' tasks except pretraining, in the order of the file."""
        return _task_names(self.methods)

    def runs(self) -> list[Run]:
        """Return the runs of the grid, seed by seed, each after its parent run."""
        return [
            replace(run, settings=self.chosen.get((run.method.name, run.task), ()))
            for seed in self.seeds
            for run in self._runs(seed)
        ]

    def tuning_runs(self) -> list[Run]:
        """Return the runs of the tuning, each after its parent run; empty without tuning.

        The pretraining is that of the tuning's seed, the same run as in `runs` if the suite has this seed.
        """
        if self.tuning is None:
            return []
        split = self.tuning.split
        return [
            tuned
            for run in self._runs(split.seed)
            for tuned in (
                [run]
                if run.task == PRETRAINING
                else [replace(run, settings=p, split=split) for p in self.tuning.grids[run.task]]
            )
        ]

    def all_runs(self) -> list[Run]:
        """Return the runs of the tuning, then those of the results, each once."""
        return list({run.name: run for run in [*self.tuning_runs(), *self.runs()]}.values())

    def _runs(self, seed: int) -> list[Run]:
        runs = []
        for method in self.methods.values():
            if method.pretrain:
                data = self._dataset(method.pretrain)
                runs.append(Run(method, PRETRAINING, seed, method.pretrain, data, RANDOM, self.protocol))
            for task in method.tasks:
                initialisation, data = task.after or method.initialisation, self._dataset(task.config)
                runs.append(Run(method, task.name, seed, task.config, data, initialisation, self.protocol))
        return runs

    def outline(self) -> Outline:
        """Return the suite as plain data, for reports and tables."""
        return Outline(
            self.name,
            self.version,
            self.path,
            tuple(self.seeds),
            {name: self._outlined(method) for name, method in self.methods.items()},
            {task: tuple(map(dict, points)) for task, points in self.tuning.grids.items()}
            if self.tuning
            else {},
        )

    def _outlined(self, method: Method) -> OutlinedMethod:
        tasks = [Task(PRETRAINING, method.pretrain)] if method.pretrain else []
        outlined = (
            OutlinedTask(task.name, self._dataset(task.config), task.config, self.metrics.get(task.name, ()))
            for task in [*tasks, *method.tasks]
        )
        made_by = method.pretrain or method.pretrained_by
        return OutlinedMethod(tuple(outlined), method.family or method.name, made_by)

    def _dataset(self, config: Path) -> str:
        return self.dataset or config.stem.rpartition("_")[2]


Entries = Annotated[dict, Field(min_length=1)]
Tasks = Annotated[Entries, Field(description="'tasks' must be a mapping with at least one entry")]
File = Annotated[str, Field(description="{!r} is not a path; give one relative to the suite")]
NAMED = "name must be a string and version an integer"


class _SuiteFile(BaseModel, strict=True):
    """Keys of a suite file. Keys that are not given are None here and below; an explicit null is an error."""

    name: str = Field(description=NAMED)
    version: int = Field(description=NAMED)
    methods: Entries = Field(description="'methods' must be a mapping with at least one entry")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(
        min_length=1,
        description="seeds must be a list of non-negative integers below 2^32, such as [0, 1, 2], not {!r}",
    )
    dataset: str = Field(None, description="dataset must be a string, not {!r}")
    tasks: Tasks = None
    generic: Annotated[Entries, Field(description="'generic' must be a mapping with at least one entry")] = (
        None
    )
    minutes: object = {}
    metrics: dict[str, list[str]] = Field(
        {}, description="metrics must map tasks to lists of metrics, such as {{in1k: [top1]}}, not {!r}"
    )
    protocol: Literal["published", "shared", "tuned"] = Field(
        PUBLISHED, description="protocol is {!r}; give published, shared or tuned"
    )
    tuning: object = None
    recipes: str = Field(
        None, description="{!r} is not a path; give one relative to the suite, to be written"
    )
    changes: dict[int, str] = Field(
        {}, description="changes must map versions to texts, such as {{2: longer schedule}}, not {!r}"
    )


class _MethodFile(BaseModel, strict=True):
    """Keys of a method in a suite file."""

    pretrain: File = None
    checkpoint: File = None
    pretrained_by: File = None
    family: str = None
    tasks: Tasks = None


class _TaskFile(BaseModel, strict=True):
    """Keys of a task in a suite file."""

    config: File
    after: object = Field(PRETRAINING, alias="from")


def read_suite(
    path: str | Path,
    seeds: list[int] | None = None,
    methods: list[str] | None = None,
    checkpoints: dict[str, str] | None = None,
) -> Suite:
    """Read and check a suite file.

    Args:
        path: The file, or its name in this package.
        seeds: Seeds that replace those of the file.
        methods: Names of the methods to keep (default: all).
        checkpoints: Further methods: their names, and the names of their checkpoints (see `system.hub`).

    Raises:
        UserError: If the file or one of its configs is missing, or a key, method or task is unknown.
    """
    path = find_suite(path)
    content = read_yaml(path, f"suite {path}")
    if seeds is not None and isinstance(content, dict):
        content = {**content, "seeds": seeds}
    if checkpoints and isinstance(content, dict) and isinstance(content.get("methods"), dict):
        content = {**content, "methods": _with_checkpoints(content["methods"], checkpoints, path)}
    file = typed(_SuiteFile, content, f"suite {path}")
    if len(set(file.seeds)) != len(file.seeds):
        raise UserError(f"suite {path}: a seed is named twice in {file.seeds}")
    if file.changes and max(file.changes) != file.version:
        raise UserError(f"suite {path}: changes end with version {max(file.changes)}, not {file.version}")
    _check_name("suite", file.name, path)
    shared = file.tasks and _read_tasks(file.tasks, f"suite {path}", path)
    generic = file.generic and _read_tasks(file.generic, f"suite {path}, generic", path)
    known = {name: _read_method(name, value, shared, generic, path) for name, value in file.methods.items()}
    chosen = list(known) if methods is None else methods
    for name in chosen:
        if name not in known:
            raise UserError(
                f"unknown method '{name}': suite {path} has {', '.join(known)}.{did_you_mean(name, known)}"
            )
    minutes, tasks = file.minutes, (PRETRAINING, *_task_names(known))
    if minutes != {} and (
        not isinstance(minutes, dict)
        or set(minutes) != set(tasks)
        or not all(type(value) in (int, float) and 0 < value < math.inf for value in minutes.values())
    ):
        raise UserError(
            f"suite {path}: minutes must hold one number for each of {', '.join(tasks)}, all above 0"
        )
    for task in file.metrics:
        if task not in tasks[1:]:
            near = did_you_mean(task, tasks[1:])
            raise UserError(f"suite {path}: metrics names '{task}', which is not one of its tasks.{near}")
    metrics = {task: tuple(names) for task, names in file.metrics.items()}
    own = {name: known[name] for name in chosen}
    tuning = _read_protocol(file, known, path)
    recipes = path.parent / file.recipes if tuning else None
    return Suite(
        path,
        file.name,
        file.version,
        file.dataset,
        own,
        file.seeds,
        minutes,
        metrics,
        file.protocol,
        tuning,
        recipes,
    )


def _read_protocol(file: _SuiteFile, methods: dict[str, Method], path: Path) -> Tuning | None:
    """Check that the suite fits its protocol; return its tuning, if it is tuned."""
    where = f"suite {path}, protocol '{file.protocol}'"
    tasks = [task for method in methods.values() for task in method.tasks]
    if file.protocol == SHARED:
        for name in _task_names(methods):
            configs = {task.config.resolve() for task in tasks if task.name == name}
            if len(configs) > 1:
                files = ", ".join(sorted(config.name for config in configs))
                raise UserError(
                    f"{where}: task '{name}' has several configs ({files}); give one for all methods"
                )
    if file.protocol != TUNED:
        if file.tuning is not None or file.recipes is not None:
            raise UserError(f"{where}: `tuning` and `recipes` are for the protocol 'tuned'; remove them")
        return None
    if file.tuning is None or file.recipes is None:
        raise UserError(f"{where} needs `tuning` and `recipes` (docs/protocols.md)")
    if later := next((task for task in tasks if task.after), None):
        raise UserError(
            f"{where}: task '{later.name}' starts from task '{later.after}'; only tasks that start from the "
            "method's initial weights can be tuned"
        )
    return read_tuning(file.tuning, _task_names(methods), f"suite {path}, tuning")


def shipped_outlines() -> dict[str, Outline]:
    """Return the suites included in this package as plain data, by name."""
    return {name: read_suite(path).outline() for name, path in names("suites").items()}


def _task_names(methods: dict[str, Method]) -> list[str]:
    return list(dict.fromkeys(task.name for method in methods.values() for task in method.tasks))


def _with_checkpoints(methods: dict, checkpoints: dict[str, str], path: Path) -> dict:
    for name, source in checkpoints.items():
        if name in methods:
            raise UserError(f"suite {path} has a method '{name}'; give the checkpoint another name")
        if not is_source(source):
            raise UserError(
                f"checkpoint {name}={source}: give timm:MODEL.TAG, timm:MODEL@FILE, hf-hub:REPO[@REVISION] "
                "or local-dir:FOLDER"
            )
    return {**methods, **{name: {"checkpoint": source} for name, source in checkpoints.items()}}


def _read_method(
    name: object,
    value: object,
    shared: tuple[Task, ...] | None,
    generic: tuple[Task, ...] | None,
    path: Path,
) -> Method:
    """Read a method; `shared` are the suite's tasks, and `generic` those with configs for any timm model."""
    _check_name("method", name, path)
    where = f"suite {path}, method '{name}'"
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise UserError(f"{where}: give `pretrain: CONFIG` or `checkpoint: FILE`, not {value!r}")
    own = typed(_MethodFile, value, where)
    starts = {key: _file(value[key], where, path) for key in ("pretrain", "checkpoint") if key in value}
    if len(starts) == 2:
        raise UserError(f"{where}: give `pretrain` or `checkpoint`, not both")
    if own.pretrained_by and "checkpoint" not in starts:
        raise UserError(f"{where}: `pretrained_by` says what made a `checkpoint`; give both, or neither")
    if not starts and name != "scratch" and not name.startswith("scratch-"):
        raise UserError(
            f"unknown method '{name}' in suite {path}: only 'scratch' and 'scratch-...' start from random "
            f"weights; give it `pretrain: CONFIG` or `checkpoint: FILE`"
        )
    named = is_source(own.checkpoint)
    tasks = _read_tasks(own.tasks, where, path) if own.tasks else generic if named else shared
    if tasks is None and named:
        raise UserError(
            f"{where}: the suite has no `generic` tasks with configs for any timm model; give the method "
            "`tasks`"
        )
    if tasks is None:
        raise UserError(f"{where} has no tasks; give `tasks` for the method or for the suite")
    made_by = _file(own.pretrained_by, where, path) if own.pretrained_by else None
    return Method(name, tasks, **starts, pretrained_by=made_by, family=own.family)


def _read_tasks(entries: dict, where: str, path: Path) -> tuple[Task, ...]:
    """Read tasks, each a config or `{config: CONFIG, from: TASK}` to start from the result of TASK."""
    tasks: dict[str, Task] = {}
    for name, entry in entries.items():
        _check_name("task", name, path)
        place = f"{where}, task '{name}'"
        if name in (PRETRAINING, RANDOM, CHECKPOINT):
            raise UserError(f"{place}: this name is reserved; choose another")
        own = typed(_TaskFile, entry if isinstance(entry, dict) else {"config": entry}, place)
        if own.after not in [PRETRAINING, *tasks]:
            near = did_you_mean(str(own.after), tasks)
            raise UserError(
                f"{place}: `from` is '{own.after}'; give '{PRETRAINING}' or a task above it.{near}"
            )
        after = None if own.after == PRETRAINING else own.after
        tasks[name] = Task(name, _file(own.config, place, path), after)
    return tuple(tasks.values())


def _check_name(what: str, name: object, path: Path) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(f"suite {path}: a {what}'s name may have letters, digits and .+-_, not {name!r}")


def _file(name: str, where: str, suite: Path) -> Path | str:
    """Return the path of a file given relative to the suite's folder; names of `system.hub` are kept."""
    if is_source(name):
        return name
    file = suite.parent / name
    if not file.is_file():
        near = did_you_mean(file.name, [p.name for p in file.parent.glob("*")])
        raise UserError(f"{where}: {file} does not exist; check the path.{near}")
    return file
