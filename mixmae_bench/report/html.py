"""HTML of tables that a reader can sort and filter, for the report and the documentation's pages."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mixmae_bench.report.table import Table, links, numeric

TEMPLATES = Path(__file__).with_name("templates")
"""Folder of templates, styles (table.css) and the script that sorts and filters (report.js)."""


def environment() -> Environment:
    """Return the templates' environment, with the functions that tables need."""
    spaces = dict(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    found = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, **spaces
    )
    found.globals.update(key=key, links=links, value=value, numeric=numeric)
    return found


def table_html(table: Table, name: str, rows: str) -> str:
    """Return a table with its notes as HTML.

    Args:
        table: The table.
        name: ID of the table, unique in its page.
        rows: Word for the rows in the label of the filter, such as 'configs'.
    """
    return str(environment().get_template("table.html").module.table(table, name, rows))


def key(title: str) -> str:
    """Return a title as a URL fragment: 'top-1 ↑' becomes 'top1'."""
    return re.sub(r"[^a-z0-9]", "", title.lower())


def value(cell: str) -> str:
    """Return the sort value of a cell such as '20.9 M' or '73.21 ± 1.17'."""
    found = re.match(r"([-+]?[\d,]*\.?\d+)(?: ([GM]))?", cell)
    if not found:
        return ""
    scale = {"M": 1e6, "G": 1e9}.get(found[2] or "", 1)
    return f"{float(found[1].replace(',', '')) * scale:.12g}"
