"""Tables of texts, and their conversion to Markdown, CSV and LaTeX (see `text` for terminals)."""

import csv
import io
from dataclasses import dataclass, field, replace

NUMBERS = set("0123456789.,±+-GM% ")
ABSENT = "not sourced"
"""Cell of a value without a source."""


SOURCE = "source"
"""Column with the keys of the sources."""

WIDEST = 18
"""Columns of a table that fit on a page; a wider one is split into its sections (see `split`)."""


@dataclass(frozen=True)
class Section:
    """Neighbouring columns of a table: a title, and their headings in a table of their own."""

    title: str
    columns: list[str]


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: Title of the table.
        columns: Titles of the columns.
        rows: One text per column; '' for an empty cell.
        notes: Lines below the table.
        sections: Sections of the last columns, in order. The columns before them name the rows.
        links: Addresses by the cells of the column `linked`.
        optional: Columns that a narrow terminal leaves out, in this order.
        linked: Column with the cells that link, such as those of sources.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    optional: list[str] = field(default_factory=list)
    linked: str = SOURCE


def split(table: Table) -> list[Table]:
    """Return the table, or a table per section if it has more than `WIDEST` columns.

    Each repeats the columns that name the rows; the last one has the notes.
    """
    if len(table.columns) <= WIDEST or not table.sections:
        return [table]
    start = names = len(table.columns) - sum(len(section.columns) for section in table.sections)
    parts = []
    for section in table.sections:
        end = start + len(section.columns)
        rows = [[*row[:names], *row[start:end]] for row in table.rows]
        parts.append(Table(section.title, [*table.columns[:names], *section.columns], rows))
        start = end
    return [*parts[:-1], replace(parts[-1], notes=table.notes)]


def markdown(table: Table) -> str:
    """Return a heading, the table and its notes as Markdown."""
    return f"# {table.title}\n\n{markdown_body(table)}"


def markdown_body(table: Table) -> str:
    """Return the table and its notes as Markdown, without a heading; a wide table in its sections."""
    parts = split(table)
    if len(parts) == 1:
        return _markdown(table)
    return "\n".join(f"**{part.title}**\n\n{_markdown(part)}" for part in parts)


def _markdown(table: Table) -> str:
    lines = [
        _pipes(table.columns),
        _pipes(["---:" if right else "---" for right in numeric(table)]),
        *(_pipes([_linked(*cell) for cell in row]) for row in links(table)),
        "",
        *table.notes,
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def links(table: Table) -> list[list[tuple[str, str]]]:
    """Return the rows, each cell with the address that it links to, or ''."""
    urls = [table.links if column == table.linked else {} for column in table.columns]
    return [[(cell, own.get(cell, "")) for cell, own in zip(row, urls, strict=True)] for row in table.rows]


def to_csv(table: Table) -> str:
    """Return columns and rows as CSV (RFC 4180, but with LF line ends), without notes.

    If cells link, a last column has the addresses.
    """
    rows = [table.columns, *table.rows]
    if table.links:
        last = [f"{table.linked} url", *("".join(url for _, url in cells) for cells in links(table))]
        rows = [[*row, url] for row, url in zip(rows, last, strict=True)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def latex(table: Table) -> str:
    """Return a LaTeX `table` with a booktabs `tabular`; notes are comments below it.

    A wide table is one `table` per section.
    """
    parts = split(table)
    if len(parts) > 1:
        return "\n".join(_latex(replace(part, title=f"{table.title}: {part.title}")) for part in parts)
    return _latex(table)


def _latex(table: Table) -> str:
    places = "".join("r" if right else "l" for right in numeric(table))
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{_escaped(table.title)}}}",
        f"\\begin{{tabular}}{{{places}}}",
        "\\toprule",
        _ampersands(table.columns),
        "\\midrule",
        *map(_ampersands, table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
        *(f"% {line}" for line in table.notes),
    ]
    return "\n".join(lines) + "\n"


def numeric(table: Table) -> list[bool]:
    """Return which columns contain only numbers and empty cells; these are right-aligned."""
    columns = range(len(table.columns))
    return [all(row[i] == ABSENT or set(row[i]) <= NUMBERS for row in table.rows) for i in columns]


def number(value: float | None) -> str:
    """Return a number as written in its source; '' for None."""
    return "" if value is None else repr(value)


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _linked(cell: str, url: str) -> str:
    cell = cell.replace("|", "\\|")
    return f"[{cell}]({url})" if url else cell


def _ampersands(cells: list[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "≤": r"$\leq$",
}


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
