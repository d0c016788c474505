"""Records of every older schema in tables, reports and plots: what they lack is an empty cell."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mixmae_bench.cli import main
from mixmae_bench.report.page import report, write_plots
from mixmae_bench.report.rows import make_rows
from mixmae_bench.results.record import read_records
from mixmae_bench.suite.spec import read_suite

OLD = Path(__file__).parents[1] / "old_records.jsonl"
DIGITS = Path(__file__).parents[2] / "configs/suites/digits.yaml"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The lines, as of the current version of the suite: tables do not show other versions."""
    version = read_suite(DIGITS).version
    text = re.sub(
        r'"suite": "digits", "suite_version": \d',
        f'"suite": "digits", "suite_version": {version}',
        OLD.read_text(),
    )
    (tmp_path / "records.jsonl").write_text(text)
    return tmp_path / "records.jsonl"


def rows_of(table: str, old: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    assert main(["table", table, "--format", "csv", "--records", str(old)]) == 0
    out, err = capsys.readouterr()
    other = "1 records of another suite, or of another version of it, are not shown.\n"
    assert err == (other if table == "digits" else "")  # the line of schema 7 is of a smoke suite
    return list(csv.DictReader(io.StringIO(out)))


def test_lines_of_every_schema_are_rows_of_the_table_of_records(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of("records", old, capsys)
    assert [row["schema"] for row in rows] == ["1", "1", "2", "2", "3", "3", "4", "4", "5", "6", "7", "8"]
    assert [row["metrics.top1"] for row in rows] == [
        "",
        "88.25",
        "72.5",
        "",
        "",
        "81.125",
        "",
        "93.25",
        "",
        "",
        "100.0",
        "",
    ]
    assert [row["lr"] != "" for row in rows] == [False] * 2 + [True] * 10
    assert [row["retries"] for row in rows] == [""] * 6 + ["0"] * 4 + ["", ""]
    assert [row["precision"] for row in rows] == [""] * 8 + ["float32", "", "float32", "float32"]


def test_the_table_of_their_suite_has_their_values_and_no_costs_that_were_not_recorded(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row["method"]: row for row in rows_of("digits", old, capsys)}
    schema_1 = rows["simmim"]
    assert (schema_1["top-1 ↑"], schema_1["FLOPs, top-1"], schema_1["pretraining FLOPs"]) == ("88.25", "", "")
    assert schema_1["pretraining s"] == "142"
    schema_4 = rows["mixmae"]
    assert (schema_4["top-1 ↑"], schema_4["FLOPs, top-1"]) == ("93.25", "20.9 M")
    assert {name: row["seeds"] for name, row in rows.items()} == dict.fromkeys(
        ("scratch", "mixmae", "simmim", "um-mae"), "1"
    )


def test_the_table_of_pretraining_costs_has_what_each_recorded(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row["method"]: row for row in rows_of("pretraining-cost", old, capsys) if "here" in row["source"]}
    assert [rows["simmim"][name] for name in ("px", "FLOPs here (G)", "images/s")] == ["", "", "590.5"]
    assert [rows["mixmae"][name] for name in ("px", "FLOPs here (G)")] == ["32", "0.025"]


def test_what_pretraining_cost_is_unknown_where_it_was_not_recorded() -> None:
    rows = {row.name: row for row in make_rows(read_records(OLD)[0])}
    assert rows["simmim"].pretraining_flops is None
    assert rows["scratch"].pretraining_flops == 0
    assert rows["mixmae"].pretraining_flops > 1e11
    # A later run from a pretraining whose record is of schema 1.
    pretraining, transfer = read_records(OLD)[0][:2]
    (row,) = make_rows([pretraining, replace(transfer, initialisation="pretraining", parent=pretraining.key)])
    assert row.pretraining_flops is None


def test_a_report_and_plots_are_made_of_them(old: Path, tmp_path: Path) -> None:
    suite = read_suite(DIGITS).outline()
    text = report(suite, tmp_path)
    assert "None" not in text.partition("<body>")[2].replace("None of", "")
    assert all(value in text for value in ("88.25", "72.50", "61.80", "81.12", "93.25"))
    write_plots(suite, tmp_path, tmp_path / "plots")
    assert len(list((tmp_path / "plots").glob("*.svg"))) == 4  # over FLOPs too: segmentation is of two sizes
