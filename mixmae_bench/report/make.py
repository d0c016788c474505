"""Tables by name, and results/README.md, from the files under results/. Does not import torch."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mixmae_bench.errors import UserError, did_you_mean
from mixmae_bench.report.papers import paper_table
from mixmae_bench.report.pretraining import pretraining_table
from mixmae_bench.report.speeds import speed_table
from mixmae_bench.report.suite import Waiting, suite_table
from mixmae_bench.report.table import Table, markdown_body
from mixmae_bench.results.measurements import COUNT_SCHEMA, SPEED_SCHEMA, Count, Speed
from mixmae_bench.results.outline import Outline
from mixmae_bench.results.published import Published, read_published
from mixmae_bench.results.record import Record, read_lines, read_records
from mixmae_bench.system.shipped import shipped

PAPERS = {
    "imagenet": "ImageNet-1K, fine-tuning",
    "coco": "COCO, detection and instance segmentation",
    "ade20k": "ADE20K, semantic segmentation",
    "classification": "Other data sets, and linear probes",
}
SUITES = {"controlled": "All methods on one backbone", "digits": "digits"}
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


def read_results(outlines: Mapping[str, Outline] | None = None, files: Sequence[Path] = ()) -> Results:
    """Read the published and measured results of this package.

    Args:
        outlines: Suites by name; methods without a record are shown as not run.
        files: Files of records to read instead of results/measured.

    Raises:
        UserError: If a file of published values is invalid, or one of `files` does not exist.
    """
    for file in files:
        if not file.is_file():
            raise UserError(f"records {file} do not exist; give the records.jsonl of a run")
    folder, complaints = shipped("results"), []
    measured = folder / "measured"
    sources = files or sorted(measured.rglob("records.jsonl"))

    def read(paths: Sequence[Path], reader: Callable[[Path], tuple[list, list[str]]]) -> list:
        lines = []
        for path in paths:
            own, wrong = reader(path)
            lines += own
            complaints.extend(wrong)
        return lines

    return Results(
        read_published(folder / "published"),
        read(sources, read_records),
        read(sorted(measured.glob("cost/*.jsonl")), lambda path: read_lines(path, Count, COUNT_SCHEMA)),
        read(sorted(measured.glob("speed/*.jsonl")), lambda path: read_lines(path, Speed, SPEED_SCHEMA)),
        complaints,
        outlines or {},
        [path.parent for path in sources],
    )


def make_table(name: str, results: Results) -> Table:
    """Return the table with a name of `NAMES`.

    Raises:
        UserError: If the name is unknown.
    """
    if name in PAPERS:
        return paper_table(PAPERS[name], results.published[name], results.counts, results.records)
    if name == "pretraining-cost":
        rows = results.published[name]
        return pretraining_table(rows, results.counts, results.records)
    if name == "speed":
        return speed_table(results.speeds)
    if name in SUITES:
        records = [r for r in results.records if r.suite == name]
        return suite_table(
            SUITES[name], records, _waiting(results.outlines.get(name), records, results.counts)
        )
    if name == "records":
        return records_table(results.records)
    raise UserError(f"unknown table '{name}'; known: {', '.join(NAMES)}.{did_you_mean(name, NAMES)}")


def _waiting(outline: Outline | None, records: Sequence[Record], counts: Sequence[Count]) -> list[Waiting]:
    """Return the methods of a suite without a record, with the FLOPs of their models."""
    counted = {count.model: count.flops for count in counts}

    def flops(config: Path | None) -> int | None:
        return counted.get(os.path.relpath(config, shipped("configs").parent)) if config else None

    done = {record.method for record in records}
    return [
        Waiting(method, flops(models.transfer), flops(models.pretrain))
        for method, models in (outline.models if outline else {}).items()
        if method not in done
    ]


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
    from mixmae_bench.report.verdicts import verdicts_markdown

    text = HEAD
    for name in NAMES:
        if name != "records":
            table = make_table(name, results)
            text += f"\n## {table.title}\n\n{markdown_body(table)}"
        if name in SUITES:
            records = [r for r in results.records if r.suite == name]
            text += verdicts_markdown(records, results.folders, "###")
    return text
