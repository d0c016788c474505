"""Tables, plots and reports of a suite that a user wrote, outside this repository."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import made_up_records, made_up_suite
from report_records import record

from mixmae_bench.cli import main
from mixmae_bench.report.columns import columns
from mixmae_bench.report.page import report
from mixmae_bench.report.plots import cost_plot, curves_plot, flops_plot, svg, transfer_plot
from mixmae_bench.report.rows import make_rows
from mixmae_bench.report.suite import Context, suite_table
from mixmae_bench.results.record import Record, append_record

SUITE = """
name: mine
version: 1
seeds: [0, 1]
methods:
  scratch:
  made-up-1: {pretrain: p_flowers.py, family: made-up}
  made-up-2: {pretrain: p_flowers.py, family: made-up}
tasks: {a: one_flowers.py, b: two_cars.py, c: three_streets-512px.py}
metrics: {a: [top1], b: [top1], c: [miou]}
"""
TARGETS = {"a": ("flowers", "top1", 70.0), "b": ("cars", "top1", 50.0), "c": ("streets-512px", "miou", 30.0)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("p_flowers", "one_flowers", "two_cars", "three_streets-512px"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "mine.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records() -> list[Record]:
    """Return two seeds of three methods on two sizes of a backbone; values differ by 2 between the seeds."""
    found = []
    for place, method in enumerate(("scratch", "made-up-1", "made-up-2")):
        shared = dict(suite="mine", suite_version=1, backbone="MadeUp-l" if place == 2 else "MadeUp-s")
        for seed in (0, 1):
            base = replace(record(method, seed, top1=0.0), **shared)
            first = replace(
                base,
                task="pretraining",
                dataset="flowers",
                key=f"{method}{seed}",
                metrics={"loss": 0.5},
                flops=7,
            )
            found += [first] if place else []
            for task, (dataset, metric, value) in TARGETS.items():
                found.append(
                    replace(
                        base,
                        task=task,
                        dataset=dataset,
                        key=f"{method}{seed}{task}",
                        parent=first.key if place else None,
                        initialisation="pretraining" if place else "random",
                        metrics={metric: value + 10 * place + 2 * seed},
                        losses=[2.0, 1.0],
                        flops=(1 + place) * 10**9,
                    )
                )
    return found


def write(folder: Path) -> Path:
    file = folder / "work_dirs/mine/records.jsonl"
    for own in records():
        append_record(file, own)
    return file


def table(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, str]]:
    assert main(["table", *arguments, "--format", "csv"]) == 0
    return {row["method"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}


@pytest.mark.parametrize("source", ["mine.yaml", "work_dirs/mine/records.jsonl"])
def test_every_task_has_columns_and_nothing_is_averaged_over_tasks(
    folder: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    write(folder)
    rows = table(capsys, source)
    assert list(rows) == ["scratch", "made-up-1", "made-up-2"]
    scores = ("top-1 ↑ (flowers)", "top-1 ↑ (cars)", "mIoU ↑")
    assert [rows["scratch"][name] for name in scores] == ["71.00 ± 1.00", "51.00 ± 1.00", "31.00 ± 1.00"]
    assert [rows["made-up-2"][name] for name in scores] == ["91.00 ± 1.00", "71.00 ± 1.00", "51.00 ± 1.00"]
    costs = ("FLOPs, top-1 (flowers)", "FLOPs, top-1 (cars)", "FLOPs, mIoU", "s, top-1 (cars)", "s, mIoU")
    assert [rows["made-up-1"][name] for name in costs] == ["2.00 G", "2.00 G", "2.00 G", "12", "12"]
    assert (rows["made-up-1"]["pretraining FLOPs"], rows["scratch"]["pretraining FLOPs"]) == ("0.0 M", "")


def test_a_suite_without_records_is_a_table_of_empty_cells(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table(capsys, "mine.yaml")
    assert list(rows) == ["scratch", "made-up-1", "made-up-2"]
    names = {"top-1 ↑ (flowers)", "top-1 ↑ (cars)", "mIoU ↑", "FLOPs, mIoU", "pretraining FLOPs"}
    for row in rows.values():
        assert names <= row.keys()
        assert {value for name, value in row.items() if name not in ("method", "seeds")} == {""}
    assert main(["report", "mine.yaml"]) == 0
    assert "22 of the suite's 22 runs have no record" in (folder / "work_dirs/mine/report.html").read_text()


def test_a_report_of_it_has_every_score_and_plot(folder: Path) -> None:
    file = write(folder)
    assert main(["report", str(file)]) == 0
    text = (folder / "work_dirs/mine/report.html").read_text()
    for words in ("71.00 ± 1.00", "made-up-2", "mIoU ↑", "not known here"):
        assert words in text
    assert text.count("data:image/svg+xml") == 5  # bars, FLOPs, cost, and two of curves


def test_plots_have_a_mark_for_every_method_and_score(folder: Path) -> None:
    rows = make_rows(records())
    titles = ["top-1 (cars)", "top-1 (flowers)", "mIoU"]
    assert [list(row.values) for row in rows] == [titles] * 3
    flops, cost, bars, curves = (draw(rows) for draw in (flops_plot, cost_plot, transfer_plot, curves_plot))
    for figure in (flops, cost):
        assert [axes.get_title(loc="left") for axes in figure.axes] == titles
        assert [sum(line.get_marker() in "osD" for line in axes.lines) for axes in figure.axes] == [3, 3, 3]
    assert [len(axes.patches) for axes in bars.axes] == [3, 3, 3]
    assert [len(axes.lines) for axes in curves.axes] == [6, 6, 6]
    for figure in (flops, cost, curves):
        assert len(re.findall(r"<use ", svg(figure))) >= 9
    assert len(re.findall(r'<g id="patch_', svg(bars))) >= 9


def test_sizes_of_a_family_are_joined_and_the_pareto_front_is_drawn(folder: Path) -> None:
    from mixmae_bench.suite.spec import read_suite

    figure = flops_plot(make_rows(records(), read_suite("mine.yaml").outline()))
    text = svg(figure)
    assert text.count('id="family"') == text.count('id="pareto"') == 3
    (line,) = [line for line in figure.axes[0].lines if line.get_gid() == "family"]
    assert list(zip(*line.get_data(), strict=True)) == [(2e9, 81.0), (3e9, 91.0)]


def test_on_one_size_there_is_no_plot_over_its_flops_but_one_of_what_pretraining_cost(folder: Path) -> None:
    rows = make_rows([replace(r, flops=10**9) for r in records()])
    assert flops_plot(rows) is None
    points = [line.get_xdata()[0] for line in cost_plot(rows).axes[0].lines if line.get_marker() in "osD"]
    assert sorted(set(points)) == [0, 3 * 1e9 * 400 * 8]


def test_two_tasks_of_one_data_set_are_two_columns_whatever_the_side_of_the_images() -> None:
    own = [
        replace(record("made-up-1", 0, top1=80.0), task="in1k", dataset="in1k"),
        replace(record("made-up-2", 0, top1=82.0), task="in1k", dataset="in1k-256px"),
        replace(record("made-up-1", 0, top1=60.0), task="linear", dataset="in1k"),
    ]
    assert [column.title for column in columns(own)] == ["top-1 (in1k)", "top-1 (linear)"]
    rows = {row[0]: row for row in suite_table("s", own).rows}
    assert rows["made-up-1"][2:4] == ["80.00", "60.00"]
    assert rows["made-up-2"][2:4] == ["82.00", ""]


def test_published_values_stand_beside_the_runs_of_their_configs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table(capsys, "transfer")
    published = {name: row["top-1 ↑ (in1k) published"] for name, row in rows.items()}
    assert published["mixmae-swin-b"] == "85.1"
    assert rows["mixmae-swin-b"]["top-1 ↑ (in1k)"] == ""
    assert rows["um-mae-swin-t"]["box AP ↑ (coco-gfl) published"] == "47.7"


@pytest.mark.parametrize("name", ["transfer", "imagenet", "controlled"])
def test_suites_at_paper_scale_have_a_value_in_every_cell_that_was_run(name: str) -> None:
    suite = made_up_suite(name)
    own = made_up_records(suite)
    made = suite_table(name, own, Context(suite))
    assert [row[0] for row in made.rows] == list(suite.methods)
    scores = {c for c in made.columns if "↑" in c}
    filled = sum(row[made.columns.index(c)] != "" for row in made.rows for c in scores)
    planned = sum(len(task.metrics) for method in suite.methods.values() for task in method.tasks)
    assert filled == planned


def test_a_file_of_two_suites_is_two_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(folder)
    append_record(file, record("mixmae", 0, top1=1.0))
    assert main(["table", str(file)]) == 0
    out = capsys.readouterr().out
    assert "# mine\n" in out
    assert "# digits\n" in out
    for command in (["table", str(file), "--format", "csv"], ["report", str(file)]):
        assert main(command) == 2
        assert "records of several suites: mine (version 1), digits (version 4)" in capsys.readouterr().err


def test_the_page_of_a_wide_suite_has_a_table_per_metric(tmp_path: Path) -> None:
    suite = made_up_suite("imagenet")
    few = replace(suite, seeds=(0,), methods=dict(list(suite.methods.items())[:4]))
    for own in made_up_records(few):
        append_record(tmp_path / "records.jsonl", replace(own, losses=[], curves={}))
    text = report(few, tmp_path)
    assert re.findall(r'<table class="sortable" id="sort[^"]*"', text)
    assert "made-up-4" in text
    assert "in1k published" in text
