"""Files of a submission, read as data.

A submission is a folder with `records.jsonl`, `outcomes/KEY.npz` of every transfer and, in
`METHOD/seedN/TASK`, what every run left: its config (`config.json`), identity (`identity.json`), curves
(`curves.json`) and compressed log (`log.txt.xz`). A suite that tunes has `tuning.jsonl` too, and
`METHOD/seedN/TASK@POINT/failed` of every point that diverged.
"""

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from mmengine.config import Config

from mixmae_bench.errors import UserError
from mixmae_bench.results.comparison import name_of
from mixmae_bench.results.curves import FILE as CURVES
from mixmae_bench.results.curves import Training, read_training
from mixmae_bench.results.outcomes import Outcomes, read_outcomes
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.results.tuning import RESULTS_FILE, TUNING_FILE, label
from mixmae_bench.suite.configs import config_of
from mixmae_bench.suite.spec import Run, Suite, read_suite
from mixmae_bench.suite.stale import NOTE, has_diverged
from mixmae_bench.system.shipped import names

CONFIG, LOG = "config.json", "log.txt.xz"
RUN_FILES = (CONFIG, NOTE, CURVES, LOG)
"""Files in the folder of every run."""

MOST_BYTES = 2_000_000
"""Largest size of a submission."""

MOST_UNPACKED = 64 * 2**20
"""Largest size in bytes of one of its files after decompression."""


@dataclass(frozen=True)
class SubmittedRun:
    """A run of a submission; its files are read when they are needed.

    Attributes:
        record: Its record.
        root: Folder of the submission.
    """

    record: Record
    root: Path

    @property
    def name(self) -> str:
        """METHOD/seedN/TASK."""
        return name_of(self.record)

    @property
    def folder(self) -> Path:
        """Folder of the run's files."""
        return self.root / self.name

    @cached_property
    def note(self) -> dict:
        """Key and identity of the run (see `suite.stale.write_note`)."""
        return _read_json(self.folder / NOTE)

    @property
    def identity(self) -> dict:
        """Settings that determine the result (see `suite.identity`)."""
        found = self.note.get("identity")
        if not isinstance(found, dict):
            raise UserError(f"{self.folder / NOTE} has no identity; an older version wrote it: train again")
        return found

    @cached_property
    def config(self) -> Config:
        """Config that was trained."""
        return Config(_read_json(self.folder / CONFIG))

    @cached_property
    def training(self) -> Training:
        """Curves of the training."""
        return read_training(self.folder)

    @cached_property
    def log(self) -> str:
        """Text of the log."""
        path = self.folder / LOG
        try:
            with lzma.open(path) as file:
                content = file.read(MOST_UNPACKED + 1)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise UserError(f"{path} is no log compressed by xz: {error}") from error
        if len(content) > MOST_UNPACKED:
            raise UserError(f"{path} has more than {MOST_UNPACKED} bytes when decompressed")
        return content.decode(errors="replace")

    @cached_property
    def outcomes(self) -> Outcomes | None:
        """Per-image outcomes, or None if the record names none."""
        if self.record.outcomes is None:
            return None
        path = self.root / self.record.outcomes
        try:
            with ZipFile(path) as arrays:
                unpacked = sum(array.file_size for array in arrays.infolist())
        except (OSError, BadZipFile) as error:
            raise UserError(f"outcomes {path} cannot be read: {error}") from error
        if unpacked > MOST_UNPACKED:
            raise UserError(f"outcomes {path} have more than {MOST_UNPACKED} bytes when decompressed")
        return read_outcomes(path, self.record.outcomes_hash or "")


@dataclass(frozen=True)
class Submission:
    """A submission; its files are read when they are needed.

    Attributes:
        root: Its folder.
        suite_file: Suite file, or None if the suite is part of this package.
    """

    root: Path
    suite_file: Path | None = None

    @cached_property
    def _lines(self) -> tuple[list[Record], list[str]]:
        return read_records(self.root / RESULTS_FILE)

    @property
    def records(self) -> list[Record]:
        """Records of the runs."""
        return self._lines[0]

    @property
    def complaints(self) -> list[str]:
        """One message for every line of the records that is not a record."""
        return self._lines[1]

    @cached_property
    def tuning(self) -> tuple[list[Record], list[str]]:
        """Records of the tuning, and one message for every line that is not a record."""
        return read_records(self.root / TUNING_FILE)

    @cached_property
    def runs(self) -> list[SubmittedRun]:
        """The runs."""
        return [SubmittedRun(record, self.root) for record in self.records]

    @cached_property
    def suite(self) -> Suite:
        """The suite, with the seeds and the method of the submission.

        Raises:
            UserError: If the suite or the method is not known, or the suite has another version.
        """
        first = self.records[0]
        known = {first.suite: self.suite_file} if self.suite_file else names("suites")
        if first.suite not in known:
            raise UserError(
                f"suite '{first.suite}' is not part of this package ({', '.join(known)}); give --suite FILE"
            )
        suite = read_suite(known[first.suite], sorted({record.seed for record in self.records}))
        if (suite.name, suite.version) != (first.suite, first.suite_version):
            raise UserError(
                f"the records are of suite {first.suite}, version {first.suite_version}; "
                f"{suite.path} is {suite.name}, version {suite.version}"
            )
        if first.method in suite.methods:
            return suite
        source = next((record.checkpoint_source for record in self.records if record.checkpoint_source), None)
        if source is None:
            raise UserError(f"suite {suite.path} has no method '{first.method}'")
        return read_suite(suite.path, suite.seeds, checkpoints={first.method: source})

    @cached_property
    def planned(self) -> dict[str, Run]:
        """Runs of the suite for this method and these seeds, by name, without chosen settings."""
        own = self.records[0].method
        return {run.name: run for run in self.suite.runs() if run.method.name == own}

    @cached_property
    def _configs(self) -> dict[tuple, Config]:
        return {}

    def config_of(self, run: Run) -> Config:
        """Return the suite's config of a run; every config is read once."""
        if run.recipe not in self._configs:
            self._configs[run.recipe] = config_of(run)
        return self._configs[run.recipe]

    def diverged(self, task: str, point: dict[str, float]) -> bool:
        """Return whether the training of a point of the tuning's grid ended with a NaN or infinite loss."""
        seed = self.suite.tuning.split.seed
        return has_diverged(self.root / f"{self.records[0].method}/seed{seed}/{task}@{label(point)}")

    def groups(self) -> dict[str, list[SubmittedRun]]:
        """Return the runs of all seeds by task."""
        found: dict[str, list[SubmittedRun]] = {}
        for run in self.runs:
            found.setdefault(run.record.task, []).append(run)
        return found

    def wanted_files(self) -> Iterator[str]:
        """Yield the paths, relative to the folder, of the files that its records name."""
        yield RESULTS_FILE
        for run in self.runs:
            yield from (f"{run.name}/{file}" for file in RUN_FILES)
            if run.record.outcomes is not None:
                yield run.record.outcomes


def size_of(folder: Path) -> dict[str, int]:
    """Return the sizes in bytes of the files in a folder by their path relative to it, largest first."""
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no JSON object")
    return content
