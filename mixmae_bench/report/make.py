"""Tables by name, and results/README.md, from the files under results/. Does not import torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.report.joins import by_configs, stem
from mixmae_bench.report.papers import paper_table
from mixmae_bench.report.pretraining import pretraining_table
from mixmae_bench.report.select import Wanted, select
from mixmae_bench.report.speeds import speed_table
from mixmae_bench.report.suite import Context, suite_table
from mixmae_bench.report.table import Table, markdown_body
from mixmae_bench.results.measurements import COUNT_SCHEMA, Count, Speed, read_speeds
from mixmae_bench.results.outline import PRETRAINING, Outline
from mixmae_bench.results.probes import probes_of_suite
from mixmae_bench.results.published import Published, read_published
from mixmae_bench.results.record import Record, read_lines, read_records
from mixmae_bench.results.tuning import is_tuning
from mixmae_bench.system.shipped import shipped

T = TypeVar("T")

PAPERS = {
    "imagenet": "ImageNet-1K, fine-tuning",
    "coco": "COCO, detection and instance segmentation",
    "ade20k": "ADE20K, semantic segmentation",
    "classification": "Other data sets, and linear probes",
}
SUITES = {
    "controlled": "All methods on one backbone",
    "transfer": "Transfer at paper scale",
    "digits": "digits",
    "digits-methods": "Every method on the digits, under one recipe",
}
"""Suites of this package with a table in results/README.md. A suite of another table's name is given by its
file."""

TITLES = {
    **PAPERS,
    "pretraining-cost": "What pretraining costs",
    "speed": "Speed and memory",
    **SUITES,
    "records": "Every record as it is",
}
NAMES = tuple(TITLES)
"""Names of the tables of `mixmae-bench table`."""

HEAD = """# Results

Made by `mixmae-bench table --all --out results/README.md` from [published](published) (values of papers, each
with its source) and [measured](measured) (records of this code). Do not edit.
"""


@dataclass(frozen=True)
class Results:
    """Data of the tables.

    Attributes:
        published: Published rows by table.
        records: Records of the runs of suites.
        counts: Records of parameters and FLOPs.
        speeds: Records of speed and memory.
        complaints: One message for each line of a file that is not a record.
        outlines: Suites that have a table, by name.
        folders: Folders of the files of `records`, which have the per-image outcomes.
    """

    published: dict[str, list[Published]]
    records: list[Record]
    counts: list[Count]
    speeds: list[Speed]
    complaints: list[str]
    outlines: Mapping[str, Outline]
    folders: list[Path]

    @property
    def runs(self) -> list[Record]:
        """Records without those of tuning runs, and of other versions of the suites in `outlines`."""
        versions = {outline.name: outline.version for outline in self.outlines.values()}
        own = (r for r in self.records if versions.get(r.suite, r.suite_version) == r.suite_version)
        return [r for r in own if not is_tuning(r)]


def read_results(outlines: Mapping[str, Outline] | None = None, files: Sequence[Path] = ()) -> Results:
    """Read the published and measured results of this package.

    Args:
        outlines: Suites by name; their methods and tasks without a record are empty cells.
        files: Files of records to read instead of those of this package (see `measured_files`).

    Raises:
        UserError: If a file of published values is invalid, or one of `files` does not exist.
    """
    for file in files:
        if not file.is_file():
            raise UserError(f"records {file} do not exist; give the records.jsonl of a run")
    folder = shipped("results")
    measured = folder / "measured"
    sources = files or measured_files()
    records, wrong_records = _read(sources, read_records)
    counts, wrong_counts = _read(
        sorted(measured.glob("cost/*.jsonl")), lambda path: read_lines(path, Count, COUNT_SCHEMA)
    )
    speeds, wrong_speeds = read_speeds(measured)
    complaints = [*wrong_records, *wrong_counts, *wrong_speeds]
    published = read_published(folder / "published")
    folders = [path.parent for path in sources]
    return Results(published, records, counts, speeds, complaints, outlines or {}, folders)


def measured_files() -> tuple[Path, ...]:
    """Return the files of records of this package, those of submissions included."""
    results = shipped("results")
    measured = sorted((results / "measured").rglob("records.jsonl"))
    return (*measured, *sorted(results.glob("submissions/*/records.jsonl")))


def _read(
    paths: Sequence[Path], reader: Callable[[Path], tuple[list[T], list[str]]]
) -> tuple[list[T], list[str]]:
    """Return the lines of several files, and the complaints about them."""
    parts = [reader(path) for path in paths]
    return [line for own, _ in parts for line in own], [text for _, wrong in parts for text in wrong]


def make_table(name: str, results: Results, wanted: Wanted | None = None) -> Table:
    """Return the table with a name of `NAMES`.

    Args:
        name: Name of the table.
        results: Data of the tables.
        wanted: Names of the rows to show, if not all (see `select`).

    Raises:
        UserError: If the name is unknown, or `wanted` fits no row or is given for another table than one of
            published values.
    """
    if wanted and name not in results.published:
        known = ", ".join(results.published)
        raise UserError(f"--{next(iter(wanted))} selects rows of published values; give one of: {known}")
    if name in PAPERS:
        rows = select(results.published[name], wanted or {})
        return paper_table(PAPERS[name], rows, results.counts, results.runs)
    if name == "pretraining-cost":
        own = [r for r in results.runs if r.task == PRETRAINING]
        chosen = select([*results.published[name], *own], wanted or {})
        rows = [row for row in chosen if isinstance(row, Published)]
        return pretraining_table(rows, results.counts, [row for row in chosen if isinstance(row, Record)])
    if name == "speed":
        return speed_table(results.speeds)
    if name in SUITES:
        outline = results.outlines[name]
        return table_of_suite(outline, _of_suite(outline, results.records), results)
    if name == "records":
        return records_table(results.records)
    raise UserError(f"unknown table '{name}'; known: {', '.join(NAMES)}.{did_you_mean(name, NAMES)}")


def table_of_suite(outline: Outline, records: Sequence[Record], results: Results) -> Table:
    """Return the table of a suite, with the published values and the counts of `results`."""
    title = SUITES.get(outline.name, outline.name)
    return suite_table(title, records, suite_context(outline, results))


def suite_context(outline: Outline, results: Results) -> Context:
    """Return what this package knows about a suite besides its records."""
    return Context(
        outline,
        by_configs({name: results.published[name] for name in PAPERS}),
        {stem(count.model): count.flops for count in results.counts},
    )


def suite_records(outline: Outline, files: Sequence[Path]) -> tuple[list[Record], list[str]]:
    """Return the records of a suite's version in some files, and messages about lines that are left out."""
    lines, complaints = _read(files, read_records)
    own = _of_suite(outline, lines)
    others = len(lines) - len(own)
    if others and tuple(files) != measured_files():
        complaints.append(f"{others} records of another suite, or of another version of it, are not shown.")
    return own, complaints


def _of_suite(outline: Outline, records: Sequence[Record]) -> list[Record]:
    return [r for r in records if (r.suite, r.suite_version) == (outline.name, outline.version)]


def records_table(records: Sequence[Record]) -> Table:
    """Return a row per record; dicts are flattened to one column per key, such as 'metrics.top1'."""
    rows = [_flat(record) for record in records]
    names = [field.name for field in fields(Record)]
    # The keys of dicts differ between records.
    columns = sorted({c for row in rows for c in row}, key=lambda c: (names.index(c.partition(".")[0]), c))
    return Table("records", columns, [[row.get(column, "") for column in columns] for row in rows])


def _flat(record: Record) -> dict[str, str]:
    row = {}
    for name, value in asdict(record).items():
        if isinstance(value, dict):
            row |= {f"{name}.{key}": _text(own) for key, own in value.items()}
        else:
            row[name] = " ".join(map(_text, value)) if isinstance(value, list) else _text(value)
    return row


def _text(value: object) -> str:
    return "" if value is None else str(value)


def results_page(results: Results) -> str:
    """Return the text of results/README.md: every table except 'records', and verdicts of the suites."""
    # Imported here: the statistics need numpy and scipy, single tables do not.
    from mixmae_bench.report.probes import suite_probe_tables
    from mixmae_bench.report.verdicts import verdicts_markdown

    text = HEAD
    for name in NAMES:
        if name != "records":
            table = make_table(name, results)
            text += f"\n## {table.title}\n\n{markdown_body(table)}"
        if name in SUITES:
            records = _of_suite(results.outlines[name], results.records)
            text += verdicts_markdown(records, results.folders, "###")
            probes = probes_of_suite(results.folders, name, results.outlines[name].version)
            for table in suite_probe_tables(probes, records):
                text += f"\n### {table.title}\n\n{markdown_body(table)}"
    return text
