"""The table of the cost of pretraining: published values, FLOPs of this code, and measured runs."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from mixmae_bench.report.columns import latest
from mixmae_bench.report.papers import backbone, links_of, source_notes
from mixmae_bench.report.speeds import device
from mixmae_bench.report.table import ABSENT, SOURCE, Table, number
from mixmae_bench.results.measurements import Count
from mixmae_bench.results.published import VALUES, Published
from mixmae_bench.results.record import Record

COLUMNS = {
    "hours": "hours",
    "gpu_hours": "GPU hours",
    "gpu_hours_per_epoch": "GPU hours per epoch",
    "memory_gb": "memory (GB)",
    "images_per_s": "images/s",
    "gflops": "FLOPs (G)",
    "speed_up": "speed-up",
    "memory_saved": "memory saved (%)",
}

OPTIONAL = ["px", "images/s", "memory saved (%)", "speed-up", "FLOPs (G)", "memory (GB)"]
"""Columns that a narrow terminal leaves out."""


def pretraining_table(rows: Sequence[Published], counts: Iterable[Count], records: Iterable[Record]) -> Table:
    """Return a table of the published rows, then a row per pretraining of `records`."""
    counted = {count.model: count for count in counts}
    columns = ["method", "backbone", "data", "px", "epochs", *COLUMNS.values(), "FLOPs here (G)", SOURCE]
    table = []
    for row in rows:
        count = counted.get(row.pretrain or "")
        table.append(
            [
                row.method,
                backbone(row),
                row.dataset,
                number(row.resolution),
                number(row.pretrain_epochs),
                *(ABSENT if row.values.get(v, "") is None else number(row.values.get(v)) for v in COLUMNS),
                f"{count.flops / 1e9:.2f}" if count else "",
                row.source.key if row.source else "",
            ]
        )
    table += _runs(records)
    notes = [
        "FLOPs: of a forward pass per image, decoder included, a multiply-add is 1. GPUs are those of the "
        "source, where it tells them: hours, memory and images/s do not compare between sources.",
        "Rows whose source is 'here' are runs of this code on the hardware they name; memory: of the "
        "process, frameworks included.",
        *(f"{title}: {VALUES[name]}." for name, title in COLUMNS.items()),
        *source_notes(rows),
    ]
    return Table("Cost of pretraining", columns, table, notes, links=links_of(rows), optional=OPTIONAL)


def _runs(records: Iterable[Record]) -> list[list[str]]:
    """Return a row per pretraining config and hardware, with means over seeds."""
    runs: dict[tuple[str, ...], list[Record]] = {}
    for r in latest(records):
        key = (r.suite, r.method, r.backbone, r.dataset, r.config, device(r.hardware), str(r.threads))
        runs.setdefault(key, []).append(r)
    rows = []
    for (_, method, encoder, dataset, _, machine, threads), own in sorted(runs.items()):
        rates = [r.images_per_s for r in own if r.images_per_s is not None]
        values = {
            "hours": f"{fmean(r.seconds for r in own) / 3600:.3f}",
            "memory_gb": f"{fmean(r.peak_memory_mb for r in own) / 1024:.2f}",
            "images_per_s": f"{fmean(rates):.1f}" if rates else "",
        }
        epochs = number(own[0].epochs)
        size = next((number(r.image_shape[0]) for r in own if r.image_shape), "")
        flops = next((f"{r.flops / 1e9:.3f}" for r in own if r.flops is not None), "")
        source = f"here: {machine}, {threads} threads, {len(own)} seeds"
        rows.append(
            [method, encoder, dataset, size, epochs, *(values.get(v, "") for v in COLUMNS), flops, source]
        )
    return rows
