"""Read recorded cases: manifest.json, .npz files and param_groups_*.json (see tests/reference/README.md)."""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mixmae_bench.errors import UserError

TITLE = re.compile(r"(finetune|pretrain) (\w+), weight_decay (\d\.\d+)(?:, layer_decay (\d\.\d+))? \(.+\)")
"""Titles of parameter groups: kind, case, weight decay and, if the script uses it, layer decay."""

NEEDED = (("kind",), ("file",), ("sha256",), ("method",), ("official", "file"))
"""Keys that every case must have in the manifest, with strings as values."""

ABOUT = {"format", "official", "versions"}
"""Keys of metadata in a file of parameter groups."""


@dataclass(frozen=True)
class Groups:
    """Parameter groups of a case's model in an official script."""

    weight_decay: float
    layer_decay: float
    parameters: dict[str, tuple[float, float] | None]
    """(lr scale, weight decay) by official name, or None if a parameter is not optimised. Not validated."""


class NotBuilt(UserError):
    """The model of a case cannot be built."""


class Tensors(dict[str, Tensor]):
    """The tensors of a case by `<group>/<name>`.

    Raises:
        UserError: On access to a tensor that was not recorded.
    """

    def __missing__(self, name: str) -> Tensor:
        raise UserError(f"its file has no '{name}'")


@dataclass(frozen=True, eq=False)
class Case:
    """A recorded case: its entry in the manifest, its tensors, and its parameter groups, if any.

    Attributes:
        folder: Folder of the file of tensors.
        name: Name, or the number in the manifest if it has no name.
        info: Entry in the manifest.
        fault: Why the entry is invalid, or ''.
        groups: Parameter groups.
    """

    folder: Path
    name: str
    info: dict
    fault: str = ""
    groups: list[Groups] = field(default_factory=list)

    def lookup(self, *keys: str) -> object:
        """Return the value of nested keys in the manifest's entry.

        Raises:
            UserError: If a key is missing.
        """
        value = self.info
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                raise UserError(f"the manifest does not contain '{'.'.join(keys)}'")
            value = value[key]
        return value

    @property
    def family(self) -> str:
        """Name of the official file without suffix, such as 'models_mixmim'."""
        return Path(self.info["official"]["file"]).stem

    @property
    def kind(self) -> str:
        return self.info["kind"].split(" (")[0]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by `<group>/<name>`.

        Raises:
            NotBuilt: If the file is missing, damaged, or not the one that the manifest describes.
        """
        path = self.folder / self.info["file"]
        if not path.is_file():
            raise NotBuilt(f"{path} does not exist; copy the .npz files beside the manifest")
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.info["sha256"]:
            raise NotBuilt(f"{path} is not the recorded file (its SHA-256 differs); copy it again")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                tensors = Tensors({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        except Exception as error:  # zipfile, zlib and numpy raise any exception for invalid archives
            raise NotBuilt(f"{path} does not contain numeric arrays: {error}") from error
        if any(tensor.is_complex() for tensor in tensors.values()):
            raise NotBuilt(f"{path} contains complex numbers")
        return tensors

    def group(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one group by their names, without the group."""
        return {k.removeprefix(f"{name}/"): t for k, t in self.tensors.items() if k.startswith(f"{name}/")}


def read_cases(folder: Path) -> list[Case]:
    """Read the cases of a folder.

    Raises:
        UserError: If there is no manifest, or the manifest or a file of parameter groups is invalid.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a folder with recorded cases, such as tests/reference")
    content = _read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("cases"), list):
        raise UserError(f"{path} is not a manifest of recorded cases: it has no list 'cases'")
    cases: dict[str, Case] = {}
    again: list[Case] = []
    for number, info in enumerate(content["cases"], start=1):
        case = _read_case(folder, number, info)
        if case.name in cases:
            again.append(replace(case, fault="the manifest has another case with this name"))
        else:
            cases[case.name] = case
    for file in sorted(folder.glob("param_groups_*.json")):
        _read_groups(file, cases)
    return [*cases.values(), *again]


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _read_case(folder: Path, number: int, info: object) -> Case:
    """Read an entry of the manifest; set `fault` if it is invalid."""
    entry = info if isinstance(info, dict) else {}
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        return Case(folder, f"number {number}", entry, "the manifest does not contain its name")
    case = Case(folder, name, entry)
    try:
        for keys in NEEDED:
            value = case.lookup(*keys)
            if not isinstance(value, str):
                raise UserError(f"'{'.'.join(keys)}' is {value!r}, not a string")
    except UserError as error:
        return replace(case, fault=str(error))
    return case


def _read_groups(file: Path, cases: dict[str, Case]) -> None:
    """Add the parameter groups of a file to their cases."""
    content = _read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} is not a file of parameter groups: it must be an object with titles as keys")
    for title, parameters in content.items():
        if title in ABOUT:
            continue
        match = TITLE.fullmatch(title)
        case = cases.get(match[2]) if match else None
        if case is None or (not case.fault and case.kind != match[1]):
            raise UserError(
                f"{file}: {title!r} names no case of the manifest in the same folder; "
                "write 'KIND CASE, weight_decay W, layer_decay D (SOURCE)'"
            )
        case.groups.append(Groups(float(match[3]), float(match[4] or 1), parameters))
