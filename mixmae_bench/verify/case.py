"""Recorded cases: a manifest.json, .npz files and param_groups_*.json, see tests/reference/README.md."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mixmae_bench.errors import UserError

TITLE = re.compile(r"(finetune|pretrain) (\w+), weight_decay (\d\.\d+)(?:, layer_decay (\d\.\d+))? \(.+\)")
"""Of parameter groups: kind, case, weight decay, and layer decay where the script has any."""

ABOUT = {"format", "official", "versions"}
"""Entries of a file of parameter groups that say what it is."""


@dataclass(frozen=True)
class Groups:
    """Parameter groups that an official script made of a case's model."""

    weight_decay: float
    layer_decay: float
    parameters: dict[str, tuple[float, float] | None]
    """(lr scale, weight decay) by official name; None for a parameter that is not optimised."""


@dataclass(frozen=True, eq=False)
class Case:
    """One case: its entry of the manifest, its tensors, and its parameter groups where there are some."""

    folder: Path
    info: dict
    groups: list[Groups] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.info["name"]

    @property
    def family(self) -> str:
        """The official file without its ending, such as 'models_mixmim'."""
        return Path(self.info["official"]["file"]).stem

    @property
    def kind(self) -> str:
        return self.info["kind"].split(" (")[0]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors by `<group>/<name>`.

        Raises:
            UserError: Where the file is missing, or is not the one that the manifest describes.
        """
        path = self.folder / self.info["file"]
        if not path.is_file():
            raise UserError(
                f"case {self.name}: {path} does not exist; copy the .npz files beside the manifest"
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.info["sha256"]:
            raise UserError(
                f"case {self.name}: {path} is not the recorded file (its SHA-256 differs); copy it again"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    def group(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one group, under their names inside it."""
        return {k.removeprefix(f"{name}/"): t for k, t in self.tensors.items() if k.startswith(f"{name}/")}


def read_cases(folder: Path) -> list[Case]:
    """Return the cases of a folder.

    Raises:
        UserError: Where there is no manifest, or it or a file of parameter groups is not one.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a folder with recorded cases, such as tests/reference")
    try:
        infos = json.loads(path.read_text(encoding="utf-8"))["cases"]
        cases = {info["name"]: Case(folder, info) for info in infos}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no manifest of recorded cases: {type(error).__name__}: {error}"
        ) from error
    for file in sorted(folder.glob("param_groups_*.json")):
        _read_groups(file, cases)
    return list(cases.values())


def _read_groups(file: Path, cases: dict[str, Case]) -> None:
    """Add the parameter groups of a file to their cases."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        recorded = {title: dict(content[title]) for title in content if title not in ABOUT}
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} is no file of parameter groups: {error}") from error
    for title, parameters in recorded.items():
        match = TITLE.fullmatch(title)
        if not match or match[2] not in cases or cases[match[2]].kind != match[1]:
            raise UserError(
                f"{file}: '{title}' names no case of the manifest beside it; "
                "write 'KIND CASE, weight_decay W, layer_decay D (SOURCE)'"
            )
        cases[match[2]].groups.append(Groups(float(match[3]), float(match[4] or 1), parameters))
