"""Rules for what was trained: recipe, data and initial weights."""

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace

from mmengine.config import Config

from mixmae_bench.datasets.digits import EMBEDDED
from mixmae_bench.datasets.identity import data_hash, join_hashes
from mixmae_bench.datasets.leaves import dicts
from mixmae_bench.engine.config import find_data, mentions
from mixmae_bench.report.make import measured_files
from mixmae_bench.results.outline import PRETRAINING
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.results.tuning import best, label
from mixmae_bench.submissions.folder import Submission, SubmittedRun
from mixmae_bench.suite.identity import changes, identity, key_of, summary
from mixmae_bench.suite.spec import CHECKPOINT, RANDOM, TUNED

LOADERS = {"train_dataloader": "train_data", "val_dataloader": "val_data"}
"""Parts of an identity by the loader of the config."""

HOOKS_OF_A_RUN = ("CurvesHook", "ProgressHook", "OutcomesHook", "LoadAuditHook")
"""Hooks that `suite.execute` and `engine.prepare` add to a config."""


def key(submission: Submission) -> Iterator[str]:
    """The key of a record is the hash of its identity."""
    for run in submission.runs:
        found = key_of(run.identity)
        if not run.record.key == run.note.get("key") == found:
            yield f"{run.name}: the key is {run.record.key}, but its identity has the hash {found}"


def recipe(submission: Submission) -> Iterator[str]:
    """The identity is that of the suite's config: model, data pipeline, optimiser, schedule and batch."""
    for run in submission.runs:
        cfg, processes = _planned_config(submission, run), run.record.processes or 1
        parts = identity(cfg, contents(run), processes, rescale=False)
        own = {name: part for name, part in run.identity.items() if name not in ("seed", "initial_weights")}
        if found := changes(parts, own):
            yield f"{run.name} differs from the suite's recipe: {summary(found)}"


def config(submission: Submission) -> Iterator[str]:
    """The config that was trained is the suite's."""
    for run in submission.runs:
        planned = _planned_config(submission, run)
        theirs, own = (
            identity(_without_run(cfg), contents(run), run.record.processes or 1, rescale=False)
            for cfg in (planned, run.config)
        )
        if found := changes(theirs, own):
            yield f"{run.name}: config.json differs from the suite's config: {summary(found)}"


def seed(submission: Submission) -> Iterator[str]:
    """The seed of a record is that of its config and its identity."""
    for run in submission.runs:
        trained = (run.config.get("randomness") or {}).get("seed")
        if not run.record.seed == trained == run.identity.get("seed"):
            yield f"{run.name}: the config was trained with seed {trained}, not {run.record.seed}"


def tuned(submission: Submission) -> Iterator[str]:
    """Tuned settings are the best point of the suite's grid on the tuning split, the same for all seeds."""
    tuning = submission.suite.tuning if submission.suite.protocol == TUNED else None
    for task, runs in submission.groups().items():
        chosen: dict[str, float] = {}
        if tuning and task != PRETRAINING:
            points = [dict(point) for point in tuning.grids[task]]
            found = [_tuning_record(submission, task, point) for point in points]
            lacking = [point for point, record in zip(points, found, strict=True) if record is None]
            if missing := [label(p) for p in lacking if not submission.diverged(task, p)]:
                yield f"{task}: tuning.jsonl has no record of {summary(missing)}"
                continue
            chosen = best([record for record in found if record]).settings
        for run in runs:
            if run.record.settings != chosen:
                yield f"{run.name} has the settings {label(run.record.settings)}, not {label(chosen)}"


def batch(submission: Submission) -> Iterator[str]:
    """The effective batch size of a record is that of its identity."""
    for run in submission.runs:
        wanted, found = run.identity["batch"]["effective"], run.record.effective_batch
        if wanted != found:
            yield f"{run.name}: the effective batch is {found} in the record, and {wanted} in the identity"


def data(submission: Submission) -> Iterator[str]:
    """The data of a task is the same for all seeds, and that of the records in the tables."""
    recorded = [record for path in measured_files() for record in read_records(path)[0]]
    for task, runs in submission.groups().items():
        known = _known_data(submission, runs[0], recorded)
        for run in runs:
            if join_hashes(contents(run).values()) != run.record.data_hash:
                yield f"{run.name}: data_hash is not that of the identity's data"
            elif run.record.data_hash != runs[0].record.data_hash:
                yield f"{run.name}: other data than seed {runs[0].record.seed} of {task}"
            elif known and run.record.data_hash not in known:
                yield f"{run.name}: other data ({run.record.data_hash}) than the suite's ({', '.join(known)})"


def initial_weights(submission: Submission) -> Iterator[str]:
    """A run starts from what the suite says: random weights, a checkpoint, or the run of its own seed."""
    keys = {run.name: run.record.key for run in submission.runs}
    for run in submission.runs:
        record, planned = run.record, submission.planned[run.name]
        wanted = keys.get(planned.parent)
        source = {RANDOM: RANDOM, CHECKPOINT: record.checkpoint}.get(planned.initialisation, wanted)
        found = record.initialisation, record.parent, run.identity.get("initial_weights")
        if found != (planned.initialisation, wanted, source):
            yield (
                f"{run.name} starts from {found[0]} (parent {found[1]}, weights {found[2]}), not from "
                f"{planned.initialisation} (parent {wanted}, weights {source})"
            )


def checkpoint(submission: Submission) -> Iterator[str]:
    """A transfer starts from the file that its pretraining ended with: the hashes are equal."""
    runs = {run.name: run.record for run in submission.runs}
    first: dict[str, str] = {}
    for name, record in runs.items():
        planned = submission.planned[name]
        if planned.initialisation == RANDOM and record.checkpoint is not None:
            yield f"{name} starts from random weights, but names the checkpoint {record.checkpoint}"
        if planned.parent is None:
            continue
        # Records before schema 9 do not state the file that a run ended with: its transfers must agree.
        ended = runs[planned.parent].final_checkpoint or first.setdefault(
            planned.parent, str(record.checkpoint)
        )
        if record.checkpoint != ended:
            yield f"{name} starts from checkpoint {record.checkpoint}, not from {ended} of {planned.parent}"


def contents(run: SubmittedRun) -> dict[str, str]:
    """Return the hashes of a run's data by loader, as its identity states them."""
    return {loader: run.identity[part]["content"] for loader, part in LOADERS.items() if part in run.identity}


def _planned_config(submission: Submission, run: SubmittedRun) -> Config:
    """Return the suite's config of a run, with its settings if the suite tunes them."""
    planned = submission.planned[run.name]
    if submission.suite.protocol == TUNED:
        planned = replace(planned, settings=tuple(run.record.settings.items()))
    return submission.config_of(planned)


def _without_run(cfg: Config) -> Config:
    """Return a config without what a run adds to it (see `engine.prepare` and `suite.execute`)."""
    cfg = copy.deepcopy(cfg)
    cfg.load_from = None  # a resumed run
    cfg.model.backbone.pop("init_cfg", None)
    for name in ("train_cfg", "test_cfg"):  # mmdet copies them from the model when it is built
        (cfg.model.get("roi_head") or {}).pop(name, None)
    added = [f"mixmae_bench.{name}" for name in HOOKS_OF_A_RUN]
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks") or [] if hook.get("type") not in added]
    clip = cfg.optim_wrapper.get("clip_grad")
    if not clip or clip.get("max_norm") == sys.float_info.max:
        cfg.optim_wrapper.pop("clip_grad", None)
    for step in dicts(cfg.train_dataloader.dataset):
        step.pop("skips", None)
    return cfg


def _tuning_record(submission: Submission, task: str, point: dict[str, float]) -> Record | None:
    """Return the last tuning record of a point of a task's grid, or None."""
    first, tuning = submission.records[0], submission.suite.tuning
    wanted = (first.suite, first.suite_version, first.method, task, tuning.split.share, point)
    found = [
        r
        for r in submission.tuning[0]
        if (r.suite, r.suite_version, r.method, r.task, r.tuning_share, r.settings) == wanted
    ]
    return found[-1] if found else None


def _known_data(submission: Submission, run: SubmittedRun, recorded: list[Record]) -> set[str]:
    """Return the data hashes of a task in the records of the tables, or that of the embedded digits."""
    cfg = _planned_config(submission, run)
    if mentions(cfg, EMBEDDED):
        found = find_data(cfg)
        hashes = [data_hash(found[loader].dataset) for loader in LOADERS if found.get(loader)]
        return {join_hashes(hashes)}
    own = run.record
    same = [
        r for r in recorded if (r.suite, r.suite_version, r.task) == (own.suite, own.suite_version, own.task)
    ]
    return {r.data_hash for r in same if r.data_hash}
