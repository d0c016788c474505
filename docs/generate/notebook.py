"""The page of the notebook, executed while the site is built. Needs nbconvert and ipykernel."""

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor

NOTEBOOK = Path(__file__).parents[1] / "digits.ipynb"
TIMEOUT = 600
"""Seconds for one cell."""


def pages() -> dict[str, str | bytes]:
    """Return the executed notebook as Markdown, and its pictures, by their paths in the site.

    Raises:
        CellExecutionError: If a cell raises an exception.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    ExecutePreprocessor(timeout=TIMEOUT).preprocess(notebook)
    text, resources = MarkdownExporter().from_notebook_node(notebook, {"output_files_dir": "notebook"})
    return {"notebook.md": f"{text}\n\n[The notebook]({NOTEBOOK.name})\n", **resources["outputs"]}
