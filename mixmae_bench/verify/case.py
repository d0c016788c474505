"""Recorded cases: a manifest.json and .npz files, see tests/reference/README.md."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mixmae_bench.errors import UserError


@dataclass(frozen=True, eq=False)
class Case:
    """One case: its entry of the manifest, and its tensors."""

    folder: Path
    info: dict

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
        UserError: Where there is no manifest, or it is not one.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a folder with recorded cases, such as tests/reference")
    try:
        infos = json.loads(path.read_text(encoding="utf-8"))["cases"]
        return [Case(folder, info) for info in infos]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no manifest of recorded cases: {type(error).__name__}: {error}"
        ) from error
