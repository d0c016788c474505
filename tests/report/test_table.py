"""The text of a table in three formats, from one small table with everything that needs care."""

import csv

import pytest

from mixmae_bench.report.table import Table, latex, markdown, to_csv
from mixmae_bench.report.text import FORMATS
from mixmae_bench.report.text import text as plain

TABLE = Table(
    "a|b & 50 %",
    ["name", "top-1 ↑", "AP"],
    [["UM|MAE_2, {x}", "85.10 ± 0.08", "not sourced"], ['a "b"\\~^#$', "-0.50", ""]],
    ["One note.", "Another: 1 %."],
)


def test_markdown_escapes_bars_and_puts_numbers_on_the_right() -> None:
    assert markdown(TABLE).splitlines() == [
        "# a|b & 50 %",
        "",
        "| name | top-1 ↑ | AP |",
        "| --- | ---: | ---: |",
        "| UM\\|MAE_2, {x} | 85.10 ± 0.08 | not sourced |",
        '| a "b"\\~^#$ | -0.50 |  |',
        "",
        "One note.",
        "Another: 1 %.",
    ]


def test_csv_gives_back_every_cell_as_it_was() -> None:
    assert list(csv.reader(to_csv(TABLE).splitlines())) == [TABLE.columns, *TABLE.rows]


def test_latex_escapes_what_latex_reads_as_something_else() -> None:
    text = latex(TABLE)
    assert r"\caption{a|b \& 50 \%}" in text
    assert r"name & top-1 $\uparrow$ & AP \\" in text
    assert r"UM|MAE\_2, \{x\} & 85.10 $\pm$ 0.08 & not sourced \\" in text
    assert r'a "b"\textbackslash{}\textasciitilde{}\textasciicircum{}\#\$ & -0.50 &  \\' in text
    assert r"\begin{tabular}{lrr}" in text
    assert text.endswith("\\end{table}\n% One note.\n% Another: 1 %.\n")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_ends_in_one_newline(name: str) -> None:
    for table in (TABLE, Table("empty", ["a"], [])):
        text = FORMATS[name](table)
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


SOURCED = Table(
    "values",
    ["method", "params (M)", "empty", "top-1", "source"],
    [["Mixed and masked", "88.34", "", "85.1", "mae"], ["MAE", "86.57", "", "83.66", "of-others|2"]],
    ["- a long line of notes"],
    links={"mae": "https://a.org/1", "of-others|2": "https://a.org/2"},
    optional=["params (M)"],
)


def test_sources_are_links_in_markdown_and_addresses_in_csv() -> None:
    assert markdown(SOURCED).splitlines()[4:6] == [
        "| Mixed and masked | 88.34 |  | 85.1 | [mae](https://a.org/1) |",
        "| MAE | 86.57 |  | 83.66 | [of-others\\|2](https://a.org/2) |",
    ]
    first, *_, last = csv.reader(to_csv(SOURCED).splitlines())
    assert (first[-2:], last[-2:]) == (["source", "source url"], ["of-others|2", "https://a.org/2"])


def test_a_terminal_gets_aligned_columns_without_empty_ones() -> None:
    assert plain(SOURCED, 60).splitlines() == [
        "values",
        "",
        "                  params",
        "method               (M)  top-1  source",
        "────────────────────────────────────────────",
        "Mixed and masked   88.34   85.1  mae",
        "MAE                86.57  83.66  of-others|2",
        "",
        "- a long line of notes",
    ]


def test_a_narrow_terminal_wraps_between_words_and_leaves_out_optional_columns() -> None:
    assert plain(SOURCED, 24).splitlines() == [
        "values",
        "",
        "method   top-1  source",
        "────────────────────────",
        "Mixed     85.1  mae",
        "and",
        "masked",
        "MAE      83.66  of-",
        "                others|2",
        "",
        "For want of width",
        "without: params (M).",
        "All: --format csv.",
        "",
        "- a long line of notes",
    ]


def test_words_and_numbers_are_whole_on_a_terminal_that_is_too_narrow() -> None:
    lines = plain(Table("t", ["method", "n"], [["unbreakable", "1234.5"], ["a", "2"]]), 4).splitlines()
    assert lines[-2:] == ["unbreakable  1234.5", "a                 2"]
