"""Tables of published values beside the FLOPs and metrics of this code."""

from collections.abc import Iterable, Mapping, Sequence

from mixmae_bench.report.joins import joined
from mixmae_bench.report.table import ABSENT, SOURCE, Table, number
from mixmae_bench.results.measurements import Count
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.published import VALUES, Published
from mixmae_bench.results.record import Record
from mixmae_bench.results.significance import (
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    RULE,
    WITHIN_NOISE,
    measured,
    verdict,
)

UNMEASURED = f"Verdict: '{NOT_RUN}': no run of this code is recorded for the row."

OPTIONAL = ("params here (M)", "params (M)", "px", "FLOPs (G)")
"""Columns that a narrow terminal leaves out."""

NOT_MEASURED = {"miou_ms": "mIoU ms"}
"""Titles of published metrics that are not measured here."""

TITLES = {name: metric.title for name, metric in METRICS.items() if metric.of_transfer} | NOT_MEASURED

WORST = (NOT_REPRODUCED, WITHIN_NOISE, REPRODUCED)


def paper_table(
    title: str, rows: Sequence[Published], counts: Iterable[Count], records: Sequence[Record]
) -> Table:
    """Return a table with a row per published row, with FLOPs from `counts` and metrics from `records`.

    A record belongs to a row if it has the row's config and its backbone was pretrained with the row's
    pretraining config. If the backbone comes from a given checkpoint, the suite must name that config under
    `pretrained_by`.
    """
    counts = list(counts)
    metrics = [m for m in TITLES if any(m in row.values for row in rows)]
    several = len({row.dataset for row in rows}) > 1
    columns = ["data set"] if several else []
    columns += ["method", "backbone", "protocol", "px", "pretraining", "epochs"]
    columns += ["params (M)", "params here (M)", "FLOPs (G)", "FLOPs here (G)"]
    for metric in metrics:
        name = TITLES[metric]
        columns += [name] if metric in NOT_MEASURED else [name, f"{name} here", f"{name} difference"]
    table, shapes = [], set()
    for row, own in zip(rows, joined(rows, records), strict=True):
        count = count_of(row, counts)
        shapes |= {tuple(count.shape)} if count else set()
        cells = [row.dataset] if several else []
        cells += [row.method, backbone(row), row.protocol or "", number(row.resolution)]
        cells += [row.pretrain_data or "", number(row.pretrain_epochs)]
        cells += [number(row.params_m), _scaled(count and count.params, 1e6)]
        cells += [number(row.flops_g), _scaled(count and count.flops, 1e9)]
        verdicts = []
        for metric in metrics:
            published, here = row.values.get(metric), measured(own, metric)
            cells.append(ABSENT if published is None and metric in row.values else number(published))
            if metric in NOT_MEASURED:
                continue
            known = published is not None and here is not None
            cells += [str(here or ""), f"{here.mean - published:+.2f}" if known else ""]
            verdicts.append(verdict(published, here))
        cells.append(next((v for v in WORST if v in verdicts), NOT_RUN if NOT_RUN in verdicts else ""))
        table.append([*cells, row.source.key if row.source else ""])
    notes = [
        f"Here: by this code, with the configs that results/published names. '{ABSENT}': no "
        "source was found that shows the value. Difference: here minus published.",
        "FLOPs: per image, a multiply-add is 1; published ones at their source's size of images, here at "
        f"{', '.join(f'{height}x{width}' for height, width in sorted(shapes))} px.",
        RULE if any(row[-2] not in ("", NOT_RUN) for row in table) else UNMEASURED,
        *(f"{TITLES[m]}: {VALUES[m]}." for m in metrics),
        *source_notes(rows),
    ]
    columns += ["verdict", SOURCE]
    return Table(title, columns, table, notes, links=links_of(rows), optional=list(OPTIONAL))


def links_of(rows: Sequence[Published]) -> dict[str, str]:
    """Return the addresses of the sources of rows, by key."""
    return {row.source.key: row.source.url for row in rows if row.source}


def source_notes(rows: Sequence[Published]) -> list[str]:
    """Return a line per source, and a line per row of which sources disagree."""
    sources = {source.key: source for row in rows for source in row.sources}
    lines = [f"- source {s.key} ({s.kind}): {s.cite}, {s.url}" for _, s in sorted(sources.items())]
    lines += [_remark(row) for row in rows if row.why]
    return lines


def _remark(row: Published) -> str:
    """Return what sources say about a row, and the reason for the value that the table shows."""
    epochs = f"{row.pretrain_epochs} epochs" if row.pretrain_epochs else None
    pixels = f"{row.resolution} px" if row.resolution else None
    data = f"pretrained on {row.pretrain_data}" if row.pretrain_data not in (None, "IN1K") else None
    name = ", ".join(filter(None, [f"{row.method} {backbone(row)}", row.protocol, pixels, data, epochs]))
    shown = f"{_listed(row.values)} ({row.source.key})" if row.source else ABSENT
    others = [f"also {_listed(other.values)} ({other.source.key})" for other in row.also]
    return f"- {name}: {', '.join([shown, *others])}: {row.why}."


def backbone(row: Published) -> str:
    """Return backbone and window, such as 'Swin-B/W14'."""
    return f"{row.backbone}/W{row.window}" if row.window else row.backbone


def _listed(values: Mapping[str, float | None]) -> str:
    known = ((name, value) for name, value in values.items() if value is not None)
    return " and ".join(f"{TITLES.get(name, name)} {number(value)}" for name, value in known)


def count_of(row: Published, counts: Sequence[Count]) -> Count | None:
    """Return the last count of the model of a row, at the row's `shape` if it has one."""
    own = [c for c in counts if c.model == row.model and row.shape in (None, tuple(c.shape))]
    return own[-1] if own else None


def _scaled(value: int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.2f}"
