"""Plots: what they are of by hand-made numbers, labels that do not meet, and the same bytes again."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from mixmae_bench.report.make import read_results
from mixmae_bench.report.plots import (
    cost_plot,
    curves_plot,
    flops_plot,
    pareto,
    png,
    published_plot,
    svg,
    text_box,
    transfer_plot,
)
from mixmae_bench.report.rows import make_rows, pretraining_flops
from mixmae_bench.results.record import Record, read_records

DIGITS = Path(__file__).parents[2] / "results/measured/digits"
SUITE_PLOTS = (transfer_plot, cost_plot, curves_plot)


def digits() -> list[Record]:
    records, complaints = read_records(DIGITS / "records.jsonl")
    assert not complaints
    return records


def with_losses(records: list[Record]) -> list[Record]:
    return [
        replace(r, losses=[1 / (i + 1 + r.seed) for i in range(10)]) if r.task == "pretraining" else r
        for r in records
    ]


def crowded() -> list[Record]:
    """Return methods of nearly the same values: labels at their points would cover each other."""
    records = []
    for number in range(4):
        for r in digits():
            if r.method != "scratch":
                metrics = {name: value + 0.1 * number for name, value in r.metrics.items()}
                parent = r.parent and f"{r.parent}-{number}"
                key, method = f"{r.key}-{number}", f"{r.method}-{number}-and-more"
                records.append(replace(r, key=key, method=method, parent=parent, metrics=metrics))
    return records


def texts(figure: Figure) -> list[Text]:
    """Return what is written: an axis has labels for more ticks than it shows."""
    figure.draw_without_rendering()
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        hidden |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    found = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in found if t not in hidden]


def assert_no_labels_meet(figure: Figure) -> None:
    shown = texts(figure)
    renderer = figure.canvas.get_renderer()
    boxes = [(t.get_text(), text_box(t, renderer)) for t in shown]
    assert len(boxes) > 5
    for (one, first), (other, second) in combinations(boxes, 2):
        assert not first.overlaps(second), f"'{one}' meets '{other}'"


@pytest.mark.parametrize("plot", SUITE_PLOTS)
@pytest.mark.parametrize("records", [digits, crowded], ids=["digits", "crowded"])
def test_labels_do_not_meet(plot, records) -> None:
    assert_no_labels_meet(plot(make_rows(with_losses(records()))))


def test_a_published_value_stands_at_the_flops_of_its_own_image_size() -> None:
    results = read_results()
    rows = [r for r in results.published["imagenet"] if (r.method, r.backbone) == ("SparK", "ConvNeXt-L")]
    points = published_plot(rows, "top1", results.counts, []).axes[0].lines[0].get_xydata()
    assert points == pytest.approx(np.array([[34.4, 85.4], [101.0, 86.0]]), rel=0.002)


def test_labels_of_the_published_values_do_not_meet() -> None:
    results = read_results()
    figure = published_plot(results.published["imagenet"], "top1", results.counts, results.records)
    assert_no_labels_meet(figure)
    assert "Pareto front" in [t.get_text() for t in texts(figure)]


@pytest.mark.parametrize("plot", SUITE_PLOTS)
def test_the_same_records_give_the_same_bytes(plot) -> None:
    first, again = (plot(make_rows(with_losses(digits()))) for _ in range(2))
    assert svg(first) == svg(again)
    assert png(first) == png(again)
    assert "date" not in svg(first).lower()


@pytest.mark.parametrize("plot", [*SUITE_PLOTS, flops_plot])
def test_without_records_there_is_no_plot(plot) -> None:
    assert plot(make_rows([])) is None


def test_without_losses_there_are_no_curves() -> None:
    assert curves_plot(make_rows([replace(r, losses=[]) for r in digits()])) is None


def test_bars_are_means_over_seeds_and_their_labels_say_so() -> None:
    figure = transfer_plot(make_rows(digits()))
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    tops = [[r.metrics["top1"] for r in digits() if r.method == m and "top1" in r.metrics]
            for m in ("scratch", "mixmae", "simmim", "um-mae")]  # fmt: skip
    assert widths == pytest.approx([mean(values) for values in tops])
    label = f"{mean(tops[1]):.2f} ± {stdev(tops[1]) / 5**0.5:.2f}"
    assert label in [t.get_text().strip() for t in texts(figure)]


def test_one_seed_has_the_error_over_images() -> None:
    records = [replace(r, stderr={"top1": 1.5}) for r in digits() if r.seed == 0]
    (scratch, *_) = make_rows(records)
    assert scratch.values["top-1"].error == 1.5
    # Of several seeds it is that over seeds.
    (scratch, *_) = make_rows([replace(r, stderr={"top1": 1.5}) for r in digits()])
    values = [r.metrics["top1"] for r in digits() if r.method == "scratch" and "top1" in r.metrics]
    assert scratch.values["top-1"].error == pytest.approx(stdev(values) / len(values) ** 0.5)


def test_pretraining_flops_are_three_passes_of_every_image_seen() -> None:
    by_key = {r.key: r for r in digits()}
    child = next(r for r in by_key.values() if r.method == "mixmae" and r.task == "detection")
    assert pretraining_flops(child, by_key) == 3 * 24707072 * 1500 * 32
    by_key[child.parent] = replace(by_key[child.parent], accumulation=2, effective_batch=64)
    assert pretraining_flops(child, by_key) == 3 * 24707072 * 1500 * 32
    # Through intermediate fine-tuning, from random weights, and where the record is missing.
    middle = replace(child, key="middle", task="classification")
    last = replace(child, parent="middle", initialisation="classification")
    assert pretraining_flops(last, {**by_key, "middle": middle}) == 3 * 24707072 * 1500 * 32
    assert pretraining_flops(replace(child, initialisation="random", parent=None), by_key) == 0
    assert pretraining_flops(child, {}) is None


def test_pareto_keeps_what_no_other_beats() -> None:
    points = [(1, 80), (2, 79), (2, 82), (3, 82), (4, 85), (4, 84)]
    assert pareto(points) == [(1, 80), (2, 82), (4, 85)]
