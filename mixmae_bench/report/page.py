"""The report of a suite: one self-contained HTML file (templates/report.html). Does not import torch."""

import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from mixmae_bench.report import plots
from mixmae_bench.report.columns import heading, latest
from mixmae_bench.report.html import environment
from mixmae_bench.report.joins import stem
from mixmae_bench.report.make import PAPERS, Results, read_results, suite_records, table_of_suite
from mixmae_bench.report.papers import paper_table
from mixmae_bench.report.probes import suite_probe_tables
from mixmae_bench.report.rows import Row, by_scores, by_tasks, make_rows
from mixmae_bench.report.suite import flops, parameters
from mixmae_bench.report.summary import summary
from mixmae_bench.report.table import Table, number, split
from mixmae_bench.report.tuning import tuning_plot
from mixmae_bench.report.verdicts import verdict_tables
from mixmae_bench.results.metrics import METRICS
from mixmae_bench.results.outline import PRETRAINING, Outline
from mixmae_bench.results.probes import probes_of_suite
from mixmae_bench.results.record import Record
from mixmae_bench.results.tuning import NEAR_TIE
from mixmae_bench.results.verdicts import matrices
from mixmae_bench.system.files import write_atomically

PLOTS: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    "transfer": plots.transfer_plot,
    "flops": plots.flops_plot,
    "cost": plots.cost_plot,
    "curves": plots.curves_plot,
}
"""Functions that draw the plots of a suite, by name; they return None without data."""


PANELS = 4
"""Panels of one figure of the page."""


def write_report(suite: Outline, work_dir: Path, out: Path | None = None, files: Sequence[Path] = ()) -> Path:
    """Write the report of a suite.

    Args:
        suite: The suite. Seeds with records are added to its seeds.
        work_dir: Folder with the folders of the runs.
        out: Output file, by default `report.html` in `work_dir`.
        files: Files of records, by default `records.jsonl` in `work_dir`.

    Returns:
        The output file.
    """
    out = out or work_dir / "report.html"
    write_atomically(out, report(suite, work_dir, files))
    return out


def write_plots(suite: Outline, work_dir: Path, folder: Path, files: Sequence[Path] = ()) -> None:
    """Write every plot of a suite that has data, as NAME.svg and NAME.png."""
    rows = make_rows(_records(suite, work_dir, files)[0], suite)
    figures = {name: draw(rows) for name, draw in PLOTS.items()}
    for name, figure in {**figures, "tuning": tuning_plot(suite, work_dir)}.items():
        if figure:
            write_atomically(folder / f"{name}.svg", plots.svg(figure))
            write_atomically(folder / f"{name}.png", plots.png(figure))


def _records(suite: Outline, work_dir: Path, files: Sequence[Path]) -> tuple[list[Record], list[str]]:
    """Return the last record of every run of the suite, and messages about lines that are left out."""
    records, complaints = suite_records(suite, files or (work_dir / "records.jsonl",))
    return sorted(latest(records), key=_order), complaints


def _order(record: Record) -> tuple[object, ...]:
    """Return a sort key: by seed, random weights first, the pretraining of a method before its transfers."""
    r = record
    return r.seed, r.method != "scratch", r.method, r.task != PRETRAINING, r.task, r.backbone, r.dataset


def report(suite: Outline, work_dir: Path, files: Sequence[Path] = ()) -> str:
    """Return the HTML of the report; the same files give the same text. See `write_report`."""
    records, complaints = _records(suite, work_dir, files)
    suite = replace(suite, seeds=tuple(sorted({*suite.seeds, *(r.seed for r in records)})))
    results = read_results()
    followed = _followed(suite, results)
    rows = make_rows(records, suite)
    folders = [path.parent for path in files] or [work_dir]
    found, unusable = matrices(records, folders)
    probes = probes_of_suite(folders, suite.name, suite.version)
    done = {f"{r.method}/seed{r.seed}/{r.task}" for r in records}
    template = environment().get_template("report.html")
    return template.render(
        suite=suite,
        complaints=complaints,
        summary=summary(found, records),
        results=split(table_of_suite(suite, records, results)),
        plots=_plots(rows),
        verdicts=verdict_tables(found, unusable),
        papers=_papers(records, results) if "imagenet" in followed else None,
        published=[paper_table(PAPERS[n], results.published[n], results.counts, records) for n in followed],
        probes=suite_probe_tables(probes, records),
        tuning=tuning_plot(suite, work_dir),
        pictures=_pictures(suite, work_dir),
        outcomes=_outcomes(records),
        settings=_settings(records),
        missing=[name for name in suite.run_names() if name not in done],
        environments=_environments(records),
        path=shlex.quote(str(suite.path)) if suite.path else None,
        work_dir=shlex.quote(str(work_dir)),
        meanings=_meanings(records),
        near_tie=f"{NEAR_TIE:g}",
        svg=plots.svg,
        b64encode=b64encode,
    )


def _meanings(records: Sequence[Record]) -> list[str]:
    """Return the meanings of the metrics of transfers and of all others in the records."""
    used = {name for record in records for name in record.metrics}
    return [
        f"{heading(name)}: {metric.meaning}."
        for name, metric in METRICS.items()
        if metric.of_transfer or name in used
    ]


def _plots(rows: Sequence[Row]) -> dict[str, list[Figure]]:
    """Return the figures of every plot, each of so few panels that it fits on a printed page."""
    parts = dict.fromkeys(PLOTS, by_scores(rows, PANELS)) | {"curves": by_tasks(rows, PANELS // 2)}
    return {name: [f for part in parts[name] if (f := draw(part))] for name, draw in PLOTS.items()}


def _papers(records: Sequence[Record], results: Results) -> Figure | None:
    return plots.published_plot(results.published["imagenet"], "top1", results.counts, records)


def _followed(suite: Outline, results: Results) -> list[str]:
    """Return the tables of published values that have the recipe of a run of the suite."""
    used = {stem(task.config) for method in suite.methods.values() for task in method.tasks}
    return [n for n in PAPERS if used & {stem(row.model) for row in results.published[n] if row.model}]


def _pictures(suite: Outline, work_dir: Path) -> dict[str, bytes]:
    """Return the last picture of every pretraining run, by caption."""
    pictures = {}
    for method in suite.methods:
        for seed in suite.seeds:
            folder = work_dir / method / f"seed{seed}" / "pretraining"
            files = sorted(folder.rglob("*.png"), key=_by_number)
            if files:
                pictures[f"{method}, seed {seed}: {files[-1].name}"] = files[-1].read_bytes()
    return pictures


def _by_number(file: Path) -> tuple[list[int], str]:
    """Return a sort key that puts 'reconstruction_10.png' after 'reconstruction_9.png'."""
    return [int(digits) for digits in re.findall(r"\d+", file.name)], file.name


def _outcomes(records: Sequence[Record]) -> Table:
    found = {name for r in records for name in r.metrics}
    names = [name for name in METRICS if name in found] + sorted(found - METRICS.keys())
    columns = ["method", "backbone", "task", "data", "seed"]
    columns += [heading(name) for name in names]
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
    error = f" ± {record.stderr[name]:.2f}" if name in record.stderr else ""
    return f"{record.metrics[name]:.{4 if name == 'loss' else 2}f}{error}"


def _settings(records: Sequence[Record]) -> Table:
    columns = ["method", "task", "seed", "initialisation", "lr", "effective batch", "precision", "epochs"]
    columns += ["iterations", "config", "config hash", "checkpoint hash", "filled (%)"]
    rows = [
        [
            *(r.method, r.task, str(r.seed), r.initialisation or "", "" if r.lr is None else f"{r.lr:g}"),
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


def _environments(records: Sequence[Record]) -> list[tuple[str, tuple[str, ...]]]:
    """Return groups of runs with the same hardware and versions: a description, and lines about both."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        hardware = ", ".join(f"{name} {value}" for name, value in sorted(r.hardware.items()) if value)
        packages = ", ".join(f"{name} {value}" for name, value in sorted(r.packages.items()))
        key = (f"Hardware: {hardware}; {r.threads} threads.", f"mixmae-bench {r.code}.", f"{packages}.")
        groups.setdefault(key, []).append(r)
    environments = []
    for key, own in sorted(groups.items()):
        runs = sorted({f"{r.method}/seed{r.seed}/{r.task}" for r in own})
        which = f"All {len(runs)} runs" if len(groups) == 1 else f"{len(runs)} runs: {', '.join(runs)}"
        environments.append((which, key))
    return environments
