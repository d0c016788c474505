"""Pack the recorded runs of one method into a submission."""

import json
import lzma
import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mixmae_bench.engine.config import load_config
from mixmae_bench.errors import UserError
from mixmae_bench.results.comparison import name_of
from mixmae_bench.results.curves import FILE as CURVES
from mixmae_bench.results.record import SCHEMA, Record, read_records
from mixmae_bench.results.tuning import RESULTS_FILE, TUNING_FILE, label
from mixmae_bench.submissions.check import check
from mixmae_bench.submissions.folder import CONFIG, LOG
from mixmae_bench.suite.progress import FAILED
from mixmae_bench.suite.stale import MARK, NOTE, has_diverged, read_note
from mixmae_bench.system.files import write_atomically


def submit(run: Path, out: Path, suite_file: Path | None = None) -> list[str]:
    """Pack all recorded runs of a method, check them, and write them if they are accepted.

    Args:
        run: Folder of the method in the work folder of a suite, or any folder in it. The work folder itself
            if it has the runs of one method only.
        out: Folder of the submission; it must not exist.
        suite_file: Suite file, if the suite is not part of this package.

    Returns:
        One line for every broken rule; then nothing is written.

    Raises:
        UserError: If the submission exists, `run` is not in the work folder of a suite, or a file of a run is
            missing.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists already; give another folder with --out, or remove it")
    work_dir, method = _find(run)
    records = _current(work_dir, RESULTS_FILE, method)
    if not records:
        raise UserError(f"{work_dir} has no finished run of {method}; run the suite first")
    tuning = _current(work_dir, TUNING_FILE, method)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
            folder = Path(temporary) / out.name
            folder.mkdir()
            _write_records(folder / RESULTS_FILE, records)
            if tuning:
                _write_records(folder / TUNING_FILE, tuning)
            for record in records:
                _copy_run(record, work_dir, folder)
            for point in _diverged(work_dir / method):
                target = folder / point.relative_to(work_dir)
                target.mkdir(parents=True)
                shutil.copyfile(point / FAILED, target / FAILED)
            broken = check(folder, suite_file)
            if not broken:
                folder.rename(out)
    except OSError as error:
        raise UserError(f"{error.filename or out} cannot be copied: {error.strerror}") from error
    return [line.replace(f"{folder}/", "") for line in broken]


def _find(run: Path) -> tuple[Path, str]:
    """Return the work folder that a folder is in, and the name of the method."""
    run = run.resolve()
    work_dir = next((path for path in (run, *run.parents) if (path / RESULTS_FILE).is_file()), None)
    if work_dir is None:
        raise UserError(f"{run} is in no work folder of a suite: no {RESULTS_FILE} in it or above it")
    if run != work_dir:
        return work_dir, run.relative_to(work_dir).parts[0]
    methods = sorted({record.method for record in read_records(work_dir / RESULTS_FILE)[0]})
    if len(methods) != 1:
        raise UserError(
            f"{run} has runs of {', '.join(methods) or 'no method'}; give the folder of one, {run}/METHOD"
        )
    return work_dir, methods[0]


def _current(work_dir: Path, file: str, method: str) -> list[Record]:
    """Return the records of a method with a folder of the same run, the last one of every run."""
    found = {}
    for record in read_records(work_dir / file)[0]:
        note = read_note(_folder(record, work_dir)) if record.method == method else None
        if note and note.key == record.key:
            found[_folder(record, work_dir)] = record
    return list(found.values())


def _diverged(method: Path) -> list[Path]:
    """Return the folders of the points of the tuning that diverged."""
    points = sorted(path for path in method.glob("seed*/*@*") if MARK not in path.name)
    return [point for point in points if has_diverged(point)]


def _folder(record: Record, work_dir: Path) -> Path:
    point = "" if record.tuning_share is None else f"@{label(record.settings)}"
    return work_dir / f"{name_of(record)}{point}"


def _write_records(path: Path, records: Iterable[Record]) -> None:
    lines = (json.dumps(asdict(replace(record, schema=SCHEMA)), sort_keys=True) for record in records)
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def _copy_run(record: Record, work_dir: Path, folder: Path) -> None:
    """Copy the files of a run that belong to a submission."""
    source, target = work_dir / name_of(record), folder / name_of(record)
    target.mkdir(parents=True)
    for name in (NOTE, CURVES):
        shutil.copyfile(source / name, target / name)
    (target / LOG).write_bytes(lzma.compress((source / "log.txt").read_bytes(), preset=9))
    cfg = load_config(source / Path(record.config).name)
    write_atomically(target / CONFIG, json.dumps(cfg.to_dict(), indent=1, sort_keys=True, default=str))
    if record.outcomes is not None:
        (folder / record.outcomes).parent.mkdir(exist_ok=True)
        shutil.copyfile(work_dir / record.outcomes, folder / record.outcomes)
