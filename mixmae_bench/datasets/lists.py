"""Reading lists of images as people really have them: byte order marks, tabs, commas, Windows paths."""

import codecs
import os
import re
from pathlib import Path

from mixmae_bench.errors import UserError

LABELLED = re.compile(r"(?P<path>.*\S)\s*[\s,;]\s*(?P<label>\d+)(?:\.0*)?")
"""A path and a label behind it; `3.0`, as spreadsheets write it, is 3."""


def read_lines(file: str) -> list[str]:
    """Return the lines of a list that are not empty, without blanks around them.

    UTF-8 with a byte order mark or without, and UTF-16 with one, are read.

    Raises:
        UserError: Where the file is missing, no text or empty.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"data: list {file} cannot be read ({error.strerror}); put it there") from error
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"data: list {file} is not text; get it again") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"data: list {file} is empty; get it again")
    return lines


def split_label(line: str) -> tuple[str, int | None]:
    """Return the path and the label of a line `path label`; None where there is no label.

    Between them stands a blank, a tab, a comma or a semicolon; the path may hold any of these too.
    """
    found = LABELLED.fullmatch(line)
    path, label = (found["path"], int(found["label"])) if found else (line, None)
    return clean_path(path.rstrip(",;").rstrip()), label


def clean_path(path: str) -> str:
    """Return a path relative to the images' folder: no quotes, no leading `/`, and `/` between its parts."""
    if len(path) > 1 and path[0] == path[-1] == '"':
        path = path[1:-1]
    return path.replace("\\", "/").lstrip("/")


def is_hidden(file: str) -> bool:
    """Tell whether a file is one that systems put beside others, such as `._x.JPEG` of macOS."""
    return Path(file).name.startswith(".")


def labelled(prefix: str, path: str, label: int) -> dict:
    """Return the item of an image as mmpretrain's data sets hold it."""
    return dict(img_path=os.path.join(prefix, path), gt_label=label)
