"""The report of a suite: one HTML file that holds all that it shows; of records, without torch."""

import base64
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from mixmae_bench.report.assets import CSS, SCRIPT
from mixmae_bench.report.make import read_results
from mixmae_bench.report.papers import number
from mixmae_bench.report.plots import (
    cost_plot,
    curves_plot,
    flops_plot,
    imagenet_plot,
    png,
    svg,
    transfer_plot,
)
from mixmae_bench.report.rows import Row, make_rows
from mixmae_bench.report.suite import column, flops, latest, parameters, suite_table
from mixmae_bench.report.table import NUMBERS, Table
from mixmae_bench.report.words import NOISE, summary
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outline import Outline
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.system.files import write_atomically

PLOTS: dict[str, tuple[Callable[[Sequence[Row]], Figure | None], str, str]] = {
    "transfer": (
        transfer_plot,
        "Transfer: means over seeds with their standard errors; with one seed, those over images.",
        "No transfer is recorded yet.",
    ),
    "flops": (
        flops_plot,
        "Top-1 accuracy over FLOPs of the classifier, with standard errors as above.",
        "No classification is recorded yet.",
    ),
    "cost": (
        cost_plot,
        "Transfer over what pretraining cost: three forward passes, decoder included, for every image seen.",
        "There is no plot of pretraining cost: no pretraining is recorded that a transfer started from.",
    ),
    "curves": (
        curves_plot,
        "Mean training loss of every epoch, a line per run. Losses of two methods do not compare.",
        "There are no learning curves: the records hold no losses of epochs.",
    ),
}
"""Plots of a suite by name: how to draw one, its caption, and what to say where there is nothing to draw."""


def write_report(suite: Outline, work_dir: Path, out: Path | None = None) -> Path:
    """Write the report of what is recorded of a suite.

    Args:
        suite: What was to be run; seeds that are recorded beyond its own count as wanted.
        work_dir: Folder with `records.jsonl` and the runs' folders.
        out: The file, by default `report.html` in `work_dir`.

    Returns:
        The file.
    """
    out = out or work_dir / "report.html"
    write_atomically(out, report(suite, work_dir))
    return out


def write_plots(suite: Outline, work_dir: Path, folder: Path) -> None:
    """Write every plot of a suite for which there are records, as NAME.svg and NAME.png."""
    rows = make_rows(suite_records(suite, work_dir)[0])
    for name, (draw, *_) in PLOTS.items():
        if figure := draw(rows):
            write_atomically(folder / f"{name}.svg", svg(figure))
            write_atomically(folder / f"{name}.png", png(figure))


def suite_records(suite: Outline, work_dir: Path) -> tuple[list[Record], list[str]]:
    """Return the suite's records, the last of every cell, and complaints about what is left out."""
    lines, complaints = read_records(work_dir / "records.jsonl")
    own = [r for r in lines if (r.suite, r.suite_version) == (suite.name, suite.version)]
    if len(own) < len(lines):
        others = len(lines) - len(own)
        complaints.append(f"{others} records of another suite, or of another version of it, are not shown.")
    return sorted(latest(own), key=_order), complaints


def _order(record: Record) -> tuple[object, ...]:
    """Sort seed by seed, random weights first, a method's pretraining before its transfers."""
    r = record
    return r.seed, r.method != "scratch", r.method, r.task != "pretraining", r.task, r.backbone, r.dataset


def report(suite: Outline, work_dir: Path) -> str:
    """Return the text of the report; the same bytes for the same files."""
    records, complaints = suite_records(suite, work_dir)
    suite = replace(suite, seeds=tuple(sorted({*suite.seeds, *(r.seed for r in records)})))
    rows = make_rows(records)
    sections = {
        "Summary": _list(summary(rows)) + _paragraph(_missing_count(suite, records)),
        "Results": _table(suite_table(suite.name, records), "sort", "rows of the table"),
        "Plots": "".join(_plot(name, rows) for name in ("transfer", "flops", "cost"))
        + _papers(suite, records),
        "Learning curves": _plot("curves", rows),
        "Reconstructions": _pictures(suite, work_dir),
        "Every run": _table(_outcomes(records), "outcomes", "runs")
        + "<h3>How each was run</h3>"
        + _table(_settings(records), "settings", "runs"),
        "Missing runs": _missing(suite, records),
        "Hardware and versions": _environments(records),
        "How to repeat it": _repeat(suite, work_dir),
        "What the numbers mean": _meaning(),
    }
    return _page(suite, sections, complaints)


def _page(suite: Outline, sections: dict[str, str], complaints: Sequence[str]) -> str:
    title = escape(f"{suite.name}: transfer of masked image modelling")
    links = "".join(f'<a href="#{_key(name)}">{name}</a> ' for name in sections)
    warning = f'<div class="warning">{_list(complaints)}</div>' if complaints else ""
    body = "".join(
        f'<section id="{_key(name)}">\n<h2>{name}</h2>\n{text}\n</section>\n'
        for name, text in sections.items()
    )
    seeds = ", ".join(map(str, suite.seeds))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'  # or browsers ask for one
        f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n"
        f'<p class="soft">Suite {escape(suite.name)}, version {suite.version}. Seeds: {seeds}.</p>\n'
        f"</header>\n<nav>{links}</nav>\n{warning}\n<main>\n{body}</main>\n<script>{SCRIPT}</script>\n"
        "</body>\n</html>\n"
    )


def _table(table: Table, key: str, what: str) -> str:
    """Return a table that the script sorts (state in the URL's fragment under `key`) and filters."""
    if not table.rows:
        return _paragraph("Nothing has been recorded yet.")
    numeric = [all(set(row[i]) <= NUMBERS for row in table.rows) for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col" aria-sort="none" data-key="{_key(column)}"{_best(column)}{_side(number)}>'
        f'<button type="button">{escape(column)}</button></th>'
        for column, number in zip(table.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_side(number)}{_value(cell) if number else ''}>{escape(cell)}</td>"
            for cell, number in zip(row, numeric, strict=True)
        )
        + "</tr>\n"
        for row in table.rows
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    return (
        f'<label class="filter">Show only {what} with <input type="search" data-table="{key}"></label>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">'
        f'<table id="{key}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'
        f'<div class="notes">{notes}</div>'
    )


def _key(title: str) -> str:
    """Write a title as part of a fragment: 'top-1 ↑' becomes 'top1'."""
    return re.sub(r"[^a-z0-9]", "", title.lower())


def _best(column: str) -> str:
    return ' data-best="most"' if "↑" in column else ""


def _side(number: bool) -> str:
    return ' class="number"' if number else ""


def _value(cell: str) -> str:
    """Return the number that a cell such as '20.9 M' or '73.21 ± 1.17' is sorted by."""
    found = re.match(r"([-+]?[\d,]*\.?\d+)(?: ([GM]))?", cell)
    if not found:
        return ' data-value=""'
    scale = {"M": 1e6, "G": 1e9}.get(found[2] or "", 1)
    return f' data-value="{float(found[1].replace(",", "")) * scale:.12g}"'


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n" if text else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>\n"


def _plot(name: str, rows: Sequence[Row]) -> str:
    draw, caption, instead = PLOTS[name]
    return _figure(draw(rows), caption, instead)


def _figure(figure: Figure | None, caption: str, instead: str) -> str:
    if figure is None:
        return _paragraph(instead)
    # As an image: ids of several plots do not meet, and no text in it can be markup of the page.
    data = base64.b64encode(svg(figure).encode()).decode()
    return (
        f'<figure><div class="scroll plot" tabindex="0"><img alt="{escape(caption)}" '
        f'src="data:image/svg+xml;base64,{data}"></div><figcaption>{escape(caption)}</figcaption></figure>\n'
    )


def _papers(suite: Outline, records: Sequence[Record]) -> str:
    if "in1k" not in suite.datasets:
        return ""
    results = read_results()
    return _figure(
        imagenet_plot(results.published["imagenet"], results.counts, records),
        "Published values on ImageNet-1K beside those measured here. FLOPs: of this code where it counts the "
        "model, else as published. Models pretrained on more data than ImageNet-1K are left out.",
        "",
    )


def _pictures(suite: Outline, work_dir: Path) -> str:
    figures = []
    for method in suite.tasks:
        for seed in suite.seeds:
            folder = work_dir / method / f"seed{seed}" / "pretraining"
            files = sorted(folder.rglob("*.png"), key=_by_number)
            if files:
                caption = escape(f"{method}, seed {seed}: {files[-1].name}")
                data = base64.b64encode(files[-1].read_bytes()).decode()
                figures.append(
                    f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
                    f"<figcaption>{caption}</figcaption></figure>"
                )
    if not figures:
        return _paragraph("There are no pictures of reconstructions in the folders of the runs.")
    return f'<div class="pictures">{"".join(figures)}</div>'


def _by_number(file: Path) -> tuple[list[int], str]:
    """Sort 'reconstruction_10.png' after 'reconstruction_9.png'."""
    return [int(digits) for digits in re.findall(r"\d+", file.name)], file.name


def _outcomes(records: Sequence[Record]) -> Table:
    found = {name for r in records for name in r.metrics}
    names = [name for name in METRICS if name in found] + sorted(found - METRICS.keys())
    columns = ["method", "backbone", "task", "data", "seed"]
    columns += [column(name) for name in names]
    columns += ["FLOPs", "params", "seconds", "images/s", "memory (MB)", "started (UTC)"]
    rows = [
        [
            *(r.method, r.backbone, r.task, r.dataset, str(r.seed)),
            *(_with_error(r, name) for name in names),
            *(flops([r.flops]), parameters(r.params), f"{r.seconds:.1f}"),
            "" if r.images_per_s is None else f"{r.images_per_s:.1f}",
            f"{r.peak_memory_mb:.0f}",
            r.started[:16].replace("T", " "),
        ]
        for r in records
    ]
    notes = [
        "±: standard error over the images of the run, where it is recorded. FLOPs: of the whole model per "
        "image, pretraining with its decoder; params: of the whole model. Images/s: in training, loading "
        "included. Memory: the largest of the process."
    ]
    return Table("Every run", columns, rows, notes)


def _with_error(record: Record, name: str) -> str:
    if name not in record.metrics:
        return ""
    error = f" ± {record.errors[name]:.2f}" if name in record.errors else ""
    return f"{record.metrics[name]:.{4 if name == 'loss' else 2}f}{error}"


def _settings(records: Sequence[Record]) -> Table:
    columns = ["method", "task", "seed", "start", "lr", "effective batch", "precision", "epochs"]
    columns += ["iterations", "config", "config hash", "checkpoint hash", "filled (%)"]
    rows = [
        [
            *(r.method, r.task, str(r.seed), r.start or "", "" if r.lr is None else f"{r.lr:g}"),
            *(str(r.effective_batch), r.precision or "", number(r.epochs), number(r.iterations)),
            *(Path(r.config).name, r.config_hash, r.checkpoint or ""),
            "" if r.checkpoint_filled is None else f"{r.checkpoint_filled:.1f}",
        ]
        for r in records
    ]
    notes = [
        "lr: before layer decay and schedule. Effective batch: images per step of the optimiser. Precision: "
        "number format of the forward pass in training. Filled: share of the backbone that the initial "
        "checkpoint filled."
    ]
    return Table("How each was run", columns, rows, notes)


def _missing_names(suite: Outline, records: Sequence[Record]) -> list[str]:
    done = {f"{r.method}/seed{r.seed}/{r.task}" for r in records}
    return [name for name in suite.run_names() if name not in done]


def _missing_count(suite: Outline, records: Sequence[Record]) -> str:
    missing, cells = len(_missing_names(suite, records)), len(suite.run_names())
    return f"{missing} of the suite's {cells} runs have no record, see below." if missing else ""


def _missing(suite: Outline, records: Sequence[Record]) -> str:
    names = _missing_names(suite, records)
    return _list(names) if names else _paragraph(f"None: all {len(suite.run_names())} runs are recorded.")


def _environments(records: Sequence[Record]) -> str:
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        hardware = ", ".join(f"{name} {value}" for name, value in sorted(r.hardware.items()) if value)
        packages = ", ".join(f"{name} {value}" for name, value in sorted(r.packages.items()))
        key = (f"Hardware: {hardware}; {r.threads} threads.", f"mixmae-bench {r.code}.", f"{packages}.")
        groups.setdefault(key, []).append(r)
    text = ""
    for key, own in sorted(groups.items()):
        runs = sorted({f"{r.method}/seed{r.seed}/{r.task}" for r in own})
        which = f"All {len(runs)} runs" if len(groups) == 1 else f"{len(runs)} runs: {', '.join(runs)}"
        text += _paragraph(which) + _list(key)
    return text or _paragraph("Nothing has been recorded yet.")


def _repeat(suite: Outline, work_dir: Path) -> str:
    path, folder = shlex.quote(str(suite.path)), shlex.quote(str(work_dir))
    seeds = ",".join(map(str, suite.seeds))
    lines = [
        f"mixmae-bench run {path} --seeds {seeds} --work-dir work_dirs/again",
        f"mixmae-bench report {path} --work-dir {folder}",
    ]
    return (
        _paragraph(
            "In a checkout of the version above: the first command runs everything anew, the second writes "
            "this page from the records."
        )
        + f"<pre>{escape(chr(10).join(lines))}</pre>"
    )


def _meaning() -> str:
    return _list([f"{column(name)}: {metric.meaning}." for name, metric in METRICS.items()]) + "".join(
        map(
            _paragraph,
            (
                "FLOPs count one multiply-add as 1, attention included.",
                "A standard error over seeds is the sample standard deviation divided by the root of the "
                "number of seeds; from a few seeds it is itself uncertain. A difference is given in units of "
                "the root of the sum of both squared errors, and called within noise up to "
                f"{NOISE:g}. Many differences are looked at here: some pass that by chance.",
                "Seconds are wall time of a run, evaluation included; runs side by side slow each other.",
            ),
        )
    )
