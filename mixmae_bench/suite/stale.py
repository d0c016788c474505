"""Stale run folders, which no longer match the identity of their run; kept until the user removes them."""

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from mixmae_bench.engine.finite import NotFiniteError
from mixmae_bench.errors import UserError
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import is_tuning
from mixmae_bench.suite.identity import changes, summary
from mixmae_bench.suite.job import final_checkpoint
from mixmae_bench.suite.plan import Plan
from mixmae_bench.suite.progress import failure, progress
from mixmae_bench.suite.spec import PRETRAINING, Suite
from mixmae_bench.system.files import write_atomically

NOTE, OLDER_NOTE = "identity.json", "key"
"""Files in a run's folder with its identity. Versions before schema 5 wrote only the key."""

MARK = ".stale-"
"""Part of the name of a renamed stale folder: TASK.stale-DATE-KEY, with date and key of its run."""


@dataclass(frozen=True)
class Note:
    """Key and identity of the run in a folder; identity is None if an older version wrote only the key."""

    key: str
    identity: dict | None


def write_note(folder: Path, planned: Plan) -> None:
    """Write the key and identity of a run to its folder."""
    text = json.dumps({"key": planned.key, "identity": planned.identity}, indent=1, sort_keys=True)
    write_atomically(folder / NOTE, text)


def read_note(folder: Path) -> Note | None:
    """Return the key and identity of the run in a folder, or None if they were not written."""
    try:
        content = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        return Note(content["key"], content["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        older = folder / OLDER_NOTE
        return Note(older.read_text(encoding="utf-8"), None) if older.is_file() else None


def is_stale(folder: Path, planned: Plan) -> bool:
    """Return whether a folder contains a run of another identity."""
    if note := read_note(folder):
        return note.key not in (planned.key, planned.older_key)
    return any(folder.glob("*.pth")) or (folder / "log.txt").is_file()


def has_diverged(folder: Path) -> bool:
    """Return whether the last attempt of a run ended with a NaN or infinite loss."""
    return (failure(folder) or "").startswith(NotFiniteError.__name__)


def set_aside(folder: Path) -> Path:
    """Rename a stale folder to make room for a new run; return the new path."""
    aside = aside_name(folder)
    folder.rename(aside)
    return aside


def aside_name(folder: Path) -> Path:
    """Return an unused path to rename a stale folder to."""
    note = read_note(folder)
    file = next((folder / name for name in (NOTE, OLDER_NOTE) if (folder / name).is_file()), folder)
    date = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    name = f"{folder.name}{MARK}{date:%Y%m%d}-{note.key if note else 'unknown'}"
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    return next(path for path in map(folder.with_name, names) if not path.exists())


def what_changed(planned: Plan, folder: Path, records: Collection[Record]) -> list[str]:
    """Return what has changed since the run was last executed.

    Changes are listed as `key: old -> new`, or found by hashes if an older version wrote nothing else.

    Args:
        planned: Current plan of the run.
        folder: Folder of the run.
        records: Records in the suite's folder.
    """
    note = read_note(folder)
    if note and note.identity:
        return changes(note.identity, planned.identity)
    if record := last_record(planned, records):
        return _by_hashes(planned, record)
    return ["config, data or initial weights (an older version did not record which)"]


def last_record(planned: Plan, records: Collection[Record]) -> Record | None:
    """Return the last record with the run's method, task and seed, of any identity.

    For a tuning run, the record is of the same point of the grid.
    """
    run = planned.run
    same = [
        r
        for r in records
        if (r.method, r.task, r.seed) == (run.method.name, run.task, run.seed)
        and is_tuning(r) == bool(run.split)
        and (not run.split or r.settings == dict(run.settings))
    ]
    return same[-1] if same else None


def _by_hashes(planned: Plan, record: Record) -> list[str]:
    changed = []
    if record.config_hash != planned.config_hash:
        changed.append(f"config: {planned.run.config} has changed")
    if record.data_hash not in (None, planned.data_hash):  # schema 1 has none
        changed.append("data: the files have changed")
    if not changed or (record.initialisation, record.parent) != (planned.initialisation, planned.parent):
        changed.append("checkpoint: the run would start from other weights")
    return changed


def check_lost_work(
    plans: dict[str, Plan], todo: Collection[str], records: Collection[Record], work_dir: Path
) -> None:
    """Refuse to repeat finished runs that other runs start from.

    Raises:
        UserError: If such a run in `todo` has a record or a checkpoint of another identity, or a record
            without its checkpoint. The message states what changed and the hours spent.
    """
    parents = {planned.run.parent for planned in plans.values()}
    lost = []
    for name in todo:
        planned, folder = plans[name], work_dir / name
        if planned.run.task != PRETRAINING and name not in parents:
            continue
        record, note, share = last_record(planned, records), read_note(folder), progress(folder)[0]
        begun = note is not None and note.key == planned.key and 0 < share < 1
        if begun:  # it will resume
            continue
        if record and record.key == planned.key:
            why = [f"it has a record, but its checkpoint is missing in {folder}"]
        elif record or (is_stale(folder, planned) and final_checkpoint(folder)):
            why = what_changed(planned, folder, records)
        else:
            continue
        spent = f"{record.seconds / 3600:.1f} hours" if record else f"{share:.0%} done"
        lost.append(f"{name} ({spent}): {summary(why)}")
    if lost:
        raise UserError(
            f"finished training would be repeated: {'; '.join(lost)}; undo the change, or add "
            "--rerun, which keeps the old folders beside the new ones"
        )


def clean(suite: Suite, work_dir: Path, remove: bool, console: Console) -> int:
    """List or remove the stale folders of a suite; return their number."""
    plain = dict(soft_wrap=True, markup=False, highlight=False)
    folders = sorted(
        path for path in work_dir.glob(f"*/seed*/*{MARK}*") if path.is_dir() and not path.is_symlink()
    )
    for folder in folders:
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        if remove:
            shutil.rmtree(folder)
        console.print(f"{'removed  ' if remove else ''}{folder}  {size:,.1f} MB", **plain)
    what = f"{len(folders)} stale folders of suite {suite.name}"
    console.print(
        f"{what} removed"
        if remove
        else f"{what} in {work_dir}" + ("; --remove deletes them" if folders else ""),
        **plain,
    )
    return len(folders)
