"""Heat maps of the tuning of a suite: the metric on the tuning split over the grid of each task."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mixmae_bench.report.plots import STYLE, WIDTH
from mixmae_bench.results.metrics import title
from mixmae_bench.results.outline import Outline
from mixmae_bench.results.record import Record, read_records
from mixmae_bench.results.tuning import TUNING_FILE, best, is_tuning, main_metric

Point = Mapping[str, float]
Grid = Sequence[Point]


def tuning_plot(suite: Outline, work_dir: Path) -> Figure | None:
    """Draw a heat map per task (rows) and method (columns); return None without records of tuning runs.

    The horizontal axis is the last setting of the grid, the vertical axis all combinations of the others. A
    frame marks the chosen point. Colours compare within a task.
    """
    lines, _ = read_records(work_dir / TUNING_FILE)
    records = [r for r in lines if is_tuning(r) and (r.suite, r.suite_version) == (suite.name, suite.version)]
    if not records or not suite.grids:
        return None
    methods = list(suite.methods)
    widths = [
        len({point[next(reversed(point))] for point in grid if point}) or 1 for grid in suite.grids.values()
    ]
    heights = [max(1, len(grid) // width) for grid, width in zip(suite.grids.values(), widths, strict=True)]
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(WIDTH, sum(0.75 + 0.3 * h for h in heights)), layout="constrained")
        FigureCanvasAgg(figure)
        shape = (len(suite.grids), len(methods))
        panels = figure.subplots(*shape, squeeze=False, height_ratios=[2 + h for h in heights])
        for row, (task, grid) in zip(panels, suite.grids.items(), strict=True):
            found = [
                [r for point in grid for r in records if (r.method, r.task, r.settings) == (m, task, point)]
                for m in methods
            ]
            _task_row(row, task, grid, methods, found)
    return figure


def _task_row(
    row: Sequence[Axes], task: str, grid: Grid, methods: Sequence[str], found: Sequence[Sequence[Record]]
) -> None:
    """Draw the panels of a task, with one range of colours."""
    values = [r.metrics[main_metric(r)] for own in found for r in own]
    for axes, method, own in zip(row, methods, found, strict=True):
        latest = list({tuple(r.settings.items()): r for r in own}.values())
        _panel(axes, grid, latest, (min(values, default=0), max(values, default=1)))
        axes.set_title(method if not latest else f"{method}, {task}\n{title(main_metric(latest[0]))}")
        if axes is not row[0]:
            axes.set_yticklabels([])
            axes.set_ylabel("")


def _panel(axes: Axes, grid: Grid, records: Sequence[Record], limits: tuple[float, float]) -> None:
    """Draw the heat map of a task and a method; points without a record stay empty."""
    names = list(grid[0])
    across, down = names[-1:], names[:-1]
    columns = list(dict.fromkeys(_values(point, across) for point in grid))
    rows = list(dict.fromkeys(_values(point, down) for point in grid))
    image = np.full((len(rows), len(columns)), np.nan)
    low, high = limits
    for record in records:
        y, x = rows.index(_values(record.settings, down)), columns.index(_values(record.settings, across))
        image[y, x] = record.metrics[main_metric(record)]
        dark = image[y, x] < (low + high) / 2
        axes.text(x, y, f"{image[y, x]:.1f}", ha="center", va="center", color="white" if dark else "black")
    axes.imshow(image, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    if records:
        chosen = best(records).settings
        corner = columns.index(_values(chosen, across)) - 0.5, rows.index(_values(chosen, down)) - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="#d55e00", linewidth=2, clip_on=False))
    axes.set_xticks(range(len(columns)), [_text(values) for values in columns])
    axes.set_yticks(range(len(rows)), [_text(values) for values in rows])
    axes.set_xlabel(", ".join(across))
    axes.set_ylabel(", ".join(down))


def _values(point: Point, names: Sequence[str]) -> tuple[float, ...]:
    return tuple(point[name] for name in names)


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
