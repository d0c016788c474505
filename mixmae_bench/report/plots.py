"""Plots of records and published values. Uses matplotlib; does not import torch.

Series differ in marker, hatch or line style, so they can be distinguished in grey. The same records give the
same bytes.
"""

import io
from collections.abc import Iterable, Sequence
from itertools import product

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter, LogLocator
from matplotlib.transforms import Bbox

from mixmae_bench.report.columns import data_set
from mixmae_bench.report.joins import joined
from mixmae_bench.report.papers import backbone, count_of
from mixmae_bench.report.rows import Row
from mixmae_bench.results.curves import LOSS, Curve, curves_of
from mixmae_bench.results.measurements import Count
from mixmae_bench.results.metrics import title as name_of
from mixmae_bench.results.outline import PRETRAINING
from mixmae_bench.results.published import Published
from mixmae_bench.results.record import Record
from mixmae_bench.results.significance import Measured, measured

STYLE = {
    "svg.hashsalt": "mixmae-bench",
    "svg.fonttype": "path",  # the width of labels does not depend on the reader's fonts
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.transparent": True,
}
# Okabe and Ito's colours, ordered so that neighbours also differ in lightness.
COLOURS = ("#666666", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")
MARKERS = "osD^vPX*"
HATCHES = ("", "///", "\\\\\\", "xxx", "---", "+++", "|||", "...")
LINES = ("-", "--", ":", "-.")
LABELLED = 40
"""Points up to which a plot of published values labels all of them."""

FRONT = {"color": "#888888", "linewidth": 1, "linestyle": "--", "zorder": 1, "gid": "pareto"}
FAMILY = "family"
"""Name of a family's line in the SVG."""

SIZES = 1.05
"""Ratio of FLOPs from which models count as of several sizes."""

WIDTH = 7.2
"""Inches."""


def flops_plot(rows: Sequence[Row]) -> Figure | None:
    """Plot every score over the FLOPs of its model, a panel per score.

    A line joins the sizes of a family, another is the Pareto front.
    Only scores of models of several sizes are plotted; return None if there is none. On one backbone, all
    points would stand in one column.
    """
    panels = {}
    for title in _titles(rows):
        points = [(row, row.flops[title], row.values[title]) for row in rows]
        points = [(row, flops, value) for row, flops, value in points if flops and value]
        if points and max(flops for _, flops, _ in points) > SIZES * min(flops for _, flops, _ in points):
            panels[title] = points
    if not panels:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(panels), 3.4)
        for own, (title, points) in zip(axes, panels.items(), strict=True):
            _sizes(own, points)
            own.set_title(_plain(title), loc="left")
            own.set_xlabel("FLOPs per image (a multiply-add is 1)")
        figure.draw_without_rendering()  # every panel moves the others
        for own, points in zip(axes, panels.values(), strict=True):
            _label(
                own,
                [(flops, value.mean) for _, flops, value in points],
                [f"{row.name} {value.mean:.1f}" for row, _, value in points],
                [value.error or 0.0 for *_, value in points],
            )
    return figure


def _sizes(axes: Axes, points: Sequence[tuple[Row, int, Measured]]) -> None:
    """Draw points of rows over FLOPs, a line per family of several sizes, and the Pareto front."""
    families = list(dict.fromkeys(row.family for row, *_ in points))
    for place, family in enumerate(families):
        own = sorted((flops, value.mean, value.error) for row, flops, value in points if row.family == family)
        colour = COLOURS[place % len(COLOURS)]
        if len(own) > 1:
            axes.plot(*zip(*(point[:2] for point in own), strict=True), color=colour, linewidth=1, gid=FAMILY)
        for flops, mean, error in own:
            axes.errorbar(flops, mean, error, **_point(place))
    front = pareto([(flops, value.mean) for _, flops, value in points])
    axes.step(*zip(*front, strict=True), where="post", **FRONT)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter("")
    axes.margins(0.2)


def cost_plot(rows: Sequence[Row]) -> Figure | None:
    """Plot every score over the total FLOPs of pretraining; return None without data."""
    known = [row for row in rows if row.pretraining_flops is not None]
    # One point compares with nothing.
    titles = [t for t in _titles(known) if sum(row.values[t] is not None for row in known) > 1]
    if not titles or not any(row.pretraining_flops for row in known):
        return None
    with mpl.rc_context(STYLE):
        figure, panels = _figure(len(titles), 2.7)
        shown = [[(row, row.values[title]) for row in known if row.values[title]] for title in titles]
        for axes, title, points in zip(panels, titles, shown, strict=True):
            for row, value in points:
                axes.errorbar(row.pretraining_flops, value.mean, value.error, **_point(row.place))
            axes.set_title(_plain(title), loc="left")
            axes.set_xlabel("FLOPs of pretraining in all")
            axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
            axes.locator_params(axis="x", nbins=4)
            axes.margins(0.3)
        figure.draw_without_rendering()  # every panel moves the others
        for axes, points in zip(panels, shown, strict=True):
            _label(
                axes,
                [(row.pretraining_flops, value.mean) for row, value in points],
                [f"{row.name} {value.mean:.1f}" for row, value in points],
                [value.error or 0.0 for _, value in points],
            )
    return figure


def transfer_plot(rows: Sequence[Row]) -> Figure | None:
    """Plot a panel of bars per score; return None without data."""
    titles = _titles(rows)
    rows = [row for row in rows if any(row.values[title] for title in titles)]
    if not titles:
        return None
    with mpl.rc_context(STYLE):
        figure, panels = _figure(len(titles), 0.7 + 0.27 * len(rows))
        for axes, title in zip(panels, titles, strict=True):
            longest = 0.0
            for at, row in enumerate(rows):
                value = row.values[title]
                if value is None:
                    axes.text(0, at, " not run", va="center", fontsize=8)
                    continue
                error = value.error or 0.0
                axes.barh(at, value.mean, 0.68, xerr=error or None, capsize=2, **_bar(row.place))
                axes.text(value.mean + error, at, f"  {value}", va="center", fontsize=8)
                longest = max(longest, value.mean + error)
            axes.set_title(_plain(title), loc="left")
            axes.set_xticks(range(0, 101, 25) if longest > 20 else range(0, 21, 5))
            axes.set_xlim(0, 1.55 * longest or 1)  # room for the values
            axes.set_yticks(range(len(rows)), [_plain(row.name) for row in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.grid(False, axis="y")
            axes.tick_params(axis="y", length=0)
    return figure


def curves_plot(rows: Sequence[Row]) -> Figure | None:
    """Plot losses and metrics over epochs, a panel per task and metric; return None without curves."""
    panels: dict[tuple[str, str], list[tuple[Row, list[Curve]]]] = {}
    for row in rows:
        runs: dict[tuple[str, str], list[Curve]] = {}
        for record in row.records:
            for metric, curve in curves_of(record).items():
                if len(curve) > 1:
                    runs.setdefault((_run_of(record), metric), []).append(curve)
        for panel, curves in runs.items():
            panels.setdefault(panel, []).append((row, curves))
    if not panels:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _figure(len(panels), 2.4 + 0.18 * len(rows))  # a legend below
        for own, ((run, metric), lines) in zip(
            axes, sorted(panels.items(), key=_by_pretraining), strict=True
        ):
            for row, curves in lines:
                _curves(own, row, curves)
            own.set_title(_plain(run), loc="left")
            own.set_xlabel("epoch")
            own.set_ylabel("training loss" if metric == LOSS else name_of(metric))
            own.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=8, ncols=1)
    return figure


def _run_of(record: Record) -> str:
    """Return the title of the panels of a run's curves: its task and data set."""
    dataset = data_set(record.dataset)
    return record.task if record.task.startswith(dataset) else f"{record.task}, {dataset}"


def _by_pretraining(panel: tuple[tuple[str, str], object]) -> tuple[object, ...]:
    (run, metric), _ = panel
    return not run.startswith(PRETRAINING), run, metric != LOSS, metric


def _curves(axes: Axes, row: Row, curves: Sequence[Curve]) -> None:
    """Draw the curves of a row's runs, one line per seed."""
    style = {
        "color": COLOURS[row.place % len(COLOURS)],
        "linestyle": LINES[row.place % len(LINES)],
        "marker": MARKERS[row.place % len(MARKERS)],
    }
    last = sum(curve[-1][1] for curve in curves) / len(curves)
    for i, curve in enumerate(curves):
        label = None if i else f"{_plain(row.name)}: {last:.3g} at the end"
        every = max(1, len(curve) // 5)
        axes.plot(*zip(*curve, strict=True), **style, label=label, linewidth=1, markersize=3, markevery=every)


def _titles(rows: Sequence[Row]) -> list[str]:
    """Return the titles of the scores that a row has a value of."""
    return [title for title in (rows[0].values if rows else ()) if any(row.values[title] for row in rows)]


def published_plot(
    published: Sequence[Published], metric: str, counts: Iterable[Count], records: Sequence[Record]
) -> Figure | None:
    """Plot published and measured values of a metric on one data set over FLOPs; return None without data.

    FLOPs are this code's if it has counted the model, else the published ones. Rows pretrained on more than
    ImageNet-1K are left out. Measured points and the Pareto front are labelled where there is room, other
    points if there are at most `LABELLED`.
    """
    counts = list(counts)
    points = []
    for row, own in zip(published, joined(published, records), strict=True):
        count = count_of(row, counts)
        flops = count.flops / 1e9 if count else row.flops_g
        if not flops or row.pretrain_data not in (None, "IN1K"):
            continue
        name, value, here = f"{row.method} {backbone(row)}", row.values.get(metric), measured(own, metric)
        points += [(flops, value, f"{name} {value}", False)] if value is not None else []
        points += [(flops, here.mean, f"{name} {here} here", True)] if here else []
    if not points:
        return None
    front = pareto([(flops, value) for flops, value, *_ in points])
    with mpl.rc_context(STYLE):
        figure, (axes,) = _figure(1, 4.6)
        for ours, marker, colour, label in ((False, "o", "white", "published"), (True, "s", "black", "here")):
            own = [(flops, value) for flops, value, _, is_ours in points if is_ours == ours]
            if own:
                style = {"markerfacecolor": colour, "markeredgecolor": "black", "markersize": 5}
                axes.plot(*zip(*own, strict=True), marker, label=label, linestyle="", **style)
        axes.step(*zip(*front, strict=True), where="post", label="Pareto front", **FRONT)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("FLOPs per image, G (a multiply-add is 1)")
        axes.set_ylabel(f"{name_of(metric)} on {published[0].dataset}, %")
        axes.margins(0.12)
        axes.legend(loc="lower right")
        points = sorted(set(points), key=lambda point: (not point[3], point[:2] not in front, point))
        every = len(points) <= LABELLED
        texts = [text if every or ours or (x, y) in front else "" for x, y, text, ours in points]
        figure.draw_without_rendering()
        _label(axes, [p[:2] for p in points], texts, [0.0] * len(points))
    return figure


def pareto(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the Pareto front (lower cost, higher value) of points (cost, value), sorted by cost."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def svg(figure: Figure) -> str:
    """Return a figure as SVG text."""
    return _saved(figure, "svg", {"Date": None, "Creator": None}).decode()


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, 200 pixels per inch."""
    return _saved(figure, "png", {"Software": None})


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    with mpl.rc_context(STYLE):
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=200, metadata=metadata)
    return file.getvalue()


def _figure(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with up to two columns of panels, `height` inches each, and the panels."""
    columns = min(panels, 2)
    lines = -(-panels // columns)
    figure = Figure(figsize=(WIDTH, height * lines), layout="constrained")
    FigureCanvasAgg(figure)  # renderer that measures texts
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def _point(place: int) -> dict[str, object]:
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    return {"color": colour, "marker": marker, "markersize": 6, "capsize": 2, "linewidth": 1}


def _bar(place: int) -> dict[str, object]:
    return {
        "facecolor": COLOURS[place % len(COLOURS)] + "66",
        "edgecolor": "black",
        "hatch": HATCHES[place % len(HATCHES)],
        "linewidth": 0.6,
        "error_kw": {"linewidth": 1},
    }


def _plain(text: str) -> str:
    """Escape a text so that matplotlib does not parse it as mathematics."""
    return text.replace("$", r"\$")


def _label(
    axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str], errors: Sequence[float]
) -> None:
    """Write texts beside points, each at the nearest place that overlaps no other text, point or error bar.

    A text without a free place nearby is left out. The figure has been drawn, so that its layout is known.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    unit = figure.dpi / 72
    within = axes.get_window_extent(renderer)
    taken = []
    for (x, y), error in zip(points, errors, strict=True):
        bottom, top = (axes.transData.transform((x, y + sign * error)) for sign in (-1, 1))
        taken.append(Bbox([bottom - 4 * unit, top + 4 * unit]))
    taken += [box for line in axes.lines if line.get_gid() for box in _boxes_along(line, unit)]
    legend = axes.get_legend()
    taken += [legend.get_window_extent(renderer)] if legend else []
    shifts = list(product((9, -9, 24, -24), (0, 9, -9, 18, -18, 30, -30, 45, -45)))
    for point, text in zip(points, texts, strict=True):
        for right, up in shifts if text else ():
            far = abs(right) > 9 or abs(up) > 9
            note = axes.annotate(
                _plain(text),
                point,
                (right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right",
                va="center",
                fontsize=8,
                arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#666666"} if far else None,
            )
            note.set_in_layout(False)  # does not change the layout of the axes
            box = text_box(note, renderer).padded(unit)
            inside = within.containsx(box.x0) and within.containsx(box.x1)
            inside = inside and within.containsy(box.y0) and within.containsy(box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            note.remove()


def _boxes_along(line: Line2D, unit: float) -> list[Bbox]:
    """Return small boxes along a line, close enough that no text fits between them."""
    corners = line.get_transform().transform_path(line.get_path()).interpolated(24).vertices
    return [Bbox([corner - unit, corner + unit]) for corner in corners]


def text_box(note: Text, renderer: RendererAgg) -> Bbox:
    """Return the bounding box of a text in pixels, without the line to its point."""
    if isinstance(note, Annotation):
        note.update_positions(renderer)
    return Text.get_window_extent(note, renderer)
