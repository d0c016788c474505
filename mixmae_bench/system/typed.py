"""Parse the content of files into pydantic models or dataclasses, with one-line error messages."""

from collections.abc import Callable
from inspect import formatannotation
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from mixmae_bench.errors import UserError, did_you_mean

T = TypeVar("T")

STRICT = ConfigDict(strict=True)
"""pydantic config without type conversion: a bool is not an int, and a string is not a number."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML has it: ten times as fast."""

DEEPEST = 100
"""Levels of nesting in a YAML file; libyaml's parser would overflow the stack at many thousands."""


def read_yaml(path: Path, what: str) -> object:
    """Return the content of a YAML file.

    Raises:
        UserError: If it is not YAML; `what` names the file.
    """
    try:
        return _load_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: invalid UTF-8 or an invalid date
        raise UserError(f"{what} is not YAML: {' '.join(str(error).split())}") from error


def _load_yaml(text: str) -> object:
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return yaml.load(text, Loader=LOADER)


def typed(kind: type[T], content: object, where: str) -> T:
    """Return a mapping from a file as a model or dataclass `kind`, validated by its own strictness.

    Raises:
        UserError: If the content does not fit; the message names the key and, by `where`, the file and the
        place.
    """
    fields = _fields(kind)
    needed = [key for key, field in fields.items() if field.is_required()]
    if not isinstance(content, dict):
        raise UserError(f"{where} must be a mapping with the keys {', '.join(needed)}")
    for key in content:
        if key not in fields:
            raise UserError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), fields)}")
    for key in needed:
        if key not in content:
            raise UserError(f"{where}: key '{key}' is missing")
    try:
        return kind(**content)
    except ValidationError as error:
        raise UserError(f"{where}: {explain(error, kind, content)}") from error


def explain(
    error: ValidationError,
    kind: type,
    content: dict[str, object],
    name: str = "key '{}'",
    show: Callable[[object], str] = repr,
) -> str:
    """Return one line that states why some content is not valid for a model or dataclass.

    If the field has a `description`, it is the message, with `{!r}` replaced by the value. Otherwise, `name`
    and `show` format key and value.
    """
    places = [own["loc"] for own in error.errors(include_url=False)]
    if missing := sorted(key for key, *_ in places if key not in content):
        return f"missing fields: {', '.join(missing)}"
    key = places[0][0]
    field = _fields(kind)[key]
    if field.description:
        return field.description.format(content[key])
    return f"{name.format(key)} is {show(content[key])}, not of type {formatannotation(field.annotation)}"


def _fields(kind: type) -> dict[str, FieldInfo]:
    """Return the fields of a model or dataclass by their keys in files."""
    return {field.alias or name: field for name, field in kind.__pydantic_fields__.items()}
