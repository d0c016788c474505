"""The page of the notebook, executed while the site is built. Needs nbconvert and ipykernel."""

from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config

NOTEBOOK = Path(__file__).parents[1] / "digits.ipynb"
TIMEOUT = 600
"""Seconds for one cell."""


def pages() -> dict[str, str | bytes]:
    """Return the executed notebook as Markdown, and its pictures, by their paths in the site.

    Raises:
        CellExecutionError: If a cell raises an exception.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    local = Config(KernelManager={"transport": "ipc"})  # the kernel warns about TCP
    ExecutePreprocessor(timeout=TIMEOUT, config=local).preprocess(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # warnings of imports contain paths of this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    text, resources = MarkdownExporter().from_notebook_node(notebook, {"output_files_dir": "notebook"})
    text += f"\n[The notebook]({NOTEBOOK.name})\n"
    return {"notebook.md": text} | {k: v for k, v in resources["outputs"].items() if k in text}
