"""Tables as text for a terminal, and the renderers of `mixmae-bench table --format`."""

import io
import shutil
import textwrap
from collections.abc import Callable

from mixmae_bench.report.table import Table, latex, markdown, numeric, split, to_csv
from mixmae_bench.results.significance import NOT_RUN

GAP = 2
"""Characters between two columns, of which rich's box is one."""


def text(table: Table, width: int | None = None) -> str:
    """Return a heading, the table and its notes for a terminal; a wide table in its sections.

    Columns in which no row has a value are left out. If the others do not fit, columns of `table.optional`
    are left out too, in their order, and a line under the table names them.

    Args:
        table: The table.
        width: Characters per line, by default those of the terminal.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    lines = [table.title]
    for part in split(table):
        lines += [] if part.title == table.title else ["", part.title]
        lines += ["", *_grid(part, width), ""]
    for note in table.notes:
        indent = "  " if note.startswith("- ") else ""
        lines += textwrap.wrap(
            note, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    return "\n".join(lines).rstrip("\n") + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {"text": text, "md": markdown, "csv": to_csv, "latex": latex}
"""Renderers by value of `mixmae-bench table --format`."""


def _grid(table: Table, width: int) -> list[str]:
    """Return the lines of a table without notes."""
    # Imported here: the other formats do not need it.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    widths, hidden = _layout(table, width)
    right = numeric(table)
    grid = Grid(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for i, own in widths.items():
        title = Text(_wrapped(table.columns[i], own))
        grid.add_column(title, justify="right" if right[i] else "left", width=own)
    for row in table.rows:
        grid.add_row(*(Text(_wrapped(row[i], own)) for i, own in widths.items()))
    file = io.StringIO()
    console = Console(
        file=file, width=max(width, sum(widths.values()) + GAP * len(widths)), color_system=None
    )
    console.print(grid)
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    if hidden:
        lines += [
            "",
            *textwrap.wrap(f"For want of width without: {', '.join(hidden)}. All: --format csv.", width),
        ]
    return lines


def _layout(table: Table, width: int) -> tuple[dict[int, int], list[str]]:
    """Return the widths of the columns to show, by index, and the names of those left out for the width."""
    filled = [
        i for i, _ in enumerate(table.columns) if any(row[i] not in ("", NOT_RUN) for row in table.rows)
    ]
    least = {i: _width(table, i, narrow=True) for i in filled}
    hidden = []
    for name in table.optional:
        if sum(least.values()) + GAP * (len(least) - 1) <= width:
            break
        hidden += [name for i in least if table.columns[i] == name]
        least = {i: own for i, own in least.items() if table.columns[i] != name}
    widths = {i: _width(table, i, narrow=False) for i in least}
    while sum(widths.values()) + GAP * (len(widths) - 1) > width:
        spare = {i: own for i, own in widths.items() if own > least[i]}
        if not spare:
            break
        widths[max(spare, key=spare.__getitem__)] -= 1
    return widths, hidden


def _width(table: Table, i: int, narrow: bool) -> int:
    """Return the width of a column, in which headings wrap, and cells too if `narrow`."""
    cells = (row[i] for row in table.rows)
    pieces = (piece for cell in cells for piece in (_wrapped(cell, 1).split("\n") if narrow else [cell]))
    return max(map(len, [*_wrapped(table.columns[i], 1).split("\n"), *pieces]))


def _wrapped(cell: str, width: int) -> str:
    """Return a cell with line ends, between words and after hyphens."""
    return "\n".join(textwrap.wrap(cell, width, break_long_words=False))
