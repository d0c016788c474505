"""The text of a table in three formats, from one small table with everything that needs care."""

import csv

import pytest

from mixmae_bench.report.table import FORMATS, Table, latex, markdown, to_csv

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
