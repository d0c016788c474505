"""Heat maps of a tuning."""

import dataclasses
from itertools import product
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from report_records import record

from mixmae_bench.report.page import report
from mixmae_bench.report.tuning import tuning_plot
from mixmae_bench.results.outline import Outline, OutlinedMethod, OutlinedTask
from mixmae_bench.results.record import append_record
from mixmae_bench.results.tuning import TUNING_FILE

GRID = tuple({"epochs": e, "lr": lr, "decay": d} for e, lr, d in product((1, 2), (0.1, 0.2), (0.7, 0.8, 1.0)))
METHODS = ("scratch", "mixmae")


def value(point: dict, method: str) -> float:
    return 50 + point["epochs"] + 10 * point["lr"] + (5 if method == "mixmae" else -5) * point["decay"]


@pytest.fixture
def suite() -> Outline:
    tasks = tuple(OutlinedTask(name, "digits", Path("c.py")) for name in ("classification", "probe"))
    methods = {name: OutlinedMethod(tasks, name) for name in METHODS}
    sample = record("scratch", 0, top1=1.0)
    grids = {"classification": GRID, "probe": ({},)}
    return Outline(sample.suite, sample.suite_version, Path("s.yaml"), (0,), methods, grids)


def write(folder: Path, suite: Outline, without: tuple = ()) -> Path:
    for method, (task, grid) in product(METHODS, suite.grids.items()):
        for point in grid:
            if point not in without:
                top1 = value(point, method) if point else 7.0
                own = dataclasses.replace(record(method, 0, top1=top1), task=task, settings=point)
                append_record(folder / TUNING_FILE, dataclasses.replace(own, tuning_share=0.2))
    return folder


def texts(figure: Figure, panel: int) -> list[list[str]]:
    """Return the numbers of a panel by rows."""
    axes = figure.axes[panel]
    cells = {tuple(map(int, reversed(note.get_position()))): note.get_text() for note in axes.texts}
    rows, columns = axes.images[0].get_array().shape
    return [[cells.get((y, x), "") for x in range(columns)] for y in range(rows)]


def chosen(figure: Figure, panel: int) -> tuple[int, int]:
    (frame,) = [patch for patch in figure.axes[panel].patches if isinstance(patch, Rectangle)]
    return round(frame.get_y() + 0.5), round(frame.get_x() + 0.5)


def test_a_panel_shows_every_point_at_its_settings_and_frames_the_best(
    tmp_path: Path, suite: Outline
) -> None:
    figure = tuning_plot(suite, write(tmp_path, suite))
    for panel, method in enumerate(METHODS):
        expected = [
            [f"{value(dict(epochs=e, lr=lr, decay=d), method):.1f}" for d in (0.7, 0.8, 1.0)]
            for e, lr in product((1, 2), (0.1, 0.2))
        ]
        assert texts(figure, panel) == expected
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.7", "0.8", "1"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1, 0.1", "1, 0.2", "2, 0.1", "2, 0.2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("decay", "epochs, lr")
    assert [chosen(figure, panel) for panel in (0, 1)] == [(3, 0), (3, 2)]
    assert texts(figure, 2) == [["7.0"]]  # a task without settings


def test_a_point_without_a_record_is_empty(tmp_path: Path, suite: Outline) -> None:
    figure = tuning_plot(suite, write(tmp_path, suite, without=(GRID[-1],)))
    assert texts(figure, 1)[3][2] == ""
    assert chosen(figure, 1) == (1, 2)  # the first of three points of 58.0


def test_without_a_tuning_there_is_no_plot(tmp_path: Path, suite: Outline) -> None:
    assert tuning_plot(suite, tmp_path) is None
    assert "Tuning: metric" not in report(suite, tmp_path)


def test_the_report_contains_the_plot(tmp_path: Path, suite: Outline) -> None:
    assert "Tuning: metric on images held out" in report(suite, write(tmp_path, suite))
