"""Tables of published values beside the FLOPs and metrics of this code."""

from collections.abc import Iterable, Sequence

from mixmae_bench.report.joins import joined
from mixmae_bench.report.table import ABSENT, Table, number
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
        count = _count_of(row, counts)
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
        RULE,
        *(f"{TITLES[m]}: {VALUES[m]}." for m in metrics),
        *source_notes(rows),
    ]
    return Table(title, [*columns, "verdict", "source"], table, notes)


def source_notes(rows: Sequence[Published]) -> list[str]:
    """Return a line per source, and a line per row with values from several sources."""
    sources = {source.key: source for row in rows for source in row.sources}
    lines = [f"- source {key} ({sources[key].kind}): {sources[key].cite}" for key in sorted(sources)]
    for row in rows:
        if row.why:
            epochs = f", {row.pretrain_epochs} epochs" if row.pretrain_epochs else ""
            others = "; ".join(f"{_listed(other.values)} ({other.source.key})" for other in row.also)
            lines.append(f"- {row.method} {backbone(row)}{epochs}: also {others}. Shown: {row.why}.")
    return lines


def backbone(row: Published) -> str:
    """Return backbone and window, such as 'Swin-B/W14'."""
    return f"{row.backbone}/W{row.window}" if row.window else row.backbone


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{TITLES.get(name, name)} {number(value)}" for name, value in values.items())


def _count_of(row: Published, counts: list[Count]) -> Count | None:
    own = [c for c in counts if c.model == row.model and row.shape in (None, tuple(c.shape))]
    return own[-1] if own else None  # the last one recorded


def _scaled(value: int | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.2f}"
