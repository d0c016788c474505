"""Reading of image lists with byte order marks, tabs, commas or Windows paths."""

import codecs
import os
import re
from collections.abc import Mapping
from pathlib import Path

from mixmae_bench.errors import UserError

LABELLED = re.compile(r"(?P<path>.*\S)\s*[\s,;]\s*(?P<label>\d+)(?:\.0*)?")
"""A path followed by a label; `3.0`, as spreadsheets write it, is read as 3."""


def read_lines(file: str) -> list[str]:
    """Return the non-empty lines of a list, stripped.

    The encoding may be UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises:
        UserError: If the file is missing, empty or not text.
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
    """Return the path and the label of a line `path label`; the label is None if it is missing.

    The separator is a blank, a tab, a comma or a semicolon; the path may contain these too.
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
    """Return whether a file is hidden, such as macOS's `._x.JPEG`."""
    return Path(file).name.startswith(".")


def labelled(prefix: str, path: str, label: int) -> dict:
    """Return the item of an image in the format of mmpretrain's data sets."""
    return dict(img_path=os.path.join(prefix, path), gt_label=label)


def labels_of(item: Mapping) -> set[int]:
    """Return the labels of an item: none, one, or those of a multi-label data set."""
    label = item.get("gt_label", ())
    return {label} if isinstance(label, int) else set(label)
