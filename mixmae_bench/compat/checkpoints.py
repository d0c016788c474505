"""Reading checkpoints without running code from them, here and in mmengine."""

import argparse
import inspect
import re
import urllib.parse
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from safetensors.torch import load_file

from mixmae_bench.errors import UserError


def read_checkpoint(
    path: str | Path, map_location: str | torch.device | None = "cpu", mmap: bool = False
) -> Any:
    """Read a .safetensors file, or what torch.save wrote: tensors, plain data and mmengine's log buffers.

    Args:
        path: The file.
        map_location: Where tensors go.
        mmap: Whether values of tensors stay in the file until they are used.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a checksum in it is wrong.
        Exception: Of many other types, from torch and safetensors, where the file is damaged or holds
            anything else. Nothing of it has run then.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if path.suffix == ".safetensors":
        return load_file(path, device=str(map_location or "cpu"))
    if reason := damage(path):
        raise ValueError(reason)
    with torch.serialization.safe_globals(_PLAIN_TYPES), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # what follows is told by the error
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)


def damage(path: Path) -> str | None:
    """Say what is damaged in a file of torch.save by its checksums, which torch itself does not look at.

    None if nothing is, or where it is no zip archive, as torch wrote until 1.5, without checksums. A file
    that was whole is not looked at again by this process until it changes.
    """
    if _version(path) in _whole:
        return None
    found = _damage(path)
    if found is None:
        trust(path)
    return found


def trust(path: Path) -> None:
    """Take a file for whole until it changes, as another process has computed its checksums."""
    _whole.add(_version(path))


_whole: set[tuple[str, int, int]] = set()


def _version(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _damage(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            return "damaged: its end is missing" if file.read(4) == b"PK\x03\x04" else None
    try:
        with zipfile.ZipFile(path) as file:
            part = file.testzip()
    except Exception as error:  # a damaged list of parts can ask for anything
        return f"damaged: {error}"
    return f"damaged: the checksum of its part {part} is wrong" if part else None


def why_refused(error: Exception) -> str:
    """Say in one line why `read_checkpoint` failed, without torch's advice to load the file all the same."""
    text = re.sub(r"\x1b\[\d*m", "", " ".join(str(error).split()))
    asked = re.search(r"(GLOBAL [\w.]+|operand \d+)", text)
    if asked:
        return f"it is not plain data but asks for {asked.group(1)}, which is never run"
    return f"{type(error).__name__}: {text.split('Please file an issue')[0][:200]}"


@contextmanager
def safe_loaders() -> Iterator[None]:
    """Make mmengine load checkpoints (resume, load_from, Pretrained) by `read_checkpoint`, from anywhere.

    For what this package's commands run, and only until that ends: whoever imports this package keeps
    mmengine's loaders. Those of mmengine 0.10.7 cannot resume on torch >= 2.6 at all; the fork's allow
    `getattr`, fall back to running a file's code, and read what they fetch from the net without any check.
    """
    before = CheckpointLoader._schemes
    CheckpointLoader._schemes = OrderedDict(
        (prefix, _fetch_checkpoint if prefix else read_for_mmengine) for prefix in before
    )
    try:
        yield
    finally:
        CheckpointLoader._schemes = before


def read_for_mmengine(path: str, map_location: str | torch.device | None = "cpu") -> Any:
    """Read a checkpoint, with what is wrong with it told in one line.

    `meta.config`, which no checkpoint of mmengine has, is left out: on a resume it would be run as code.

    Raises:
        UserError: If the file is missing, damaged, or holds anything but tensors and plain data.
    """
    try:
        content = read_checkpoint(path, map_location)
    except FileNotFoundError as error:
        raise UserError(f"{error}; check the path") from error
    except Exception as error:  # torch and safetensors raise many types for a damaged file
        raise UserError(f"checkpoint {path} cannot be read as weights: {why_refused(error)}") from error
    if isinstance(content, dict) and isinstance(content.get("meta"), dict):
        content["meta"].pop("config", None)
    return content


def _fetch_checkpoint(url: str, map_location: str | torch.device | None = "cpu") -> Any:
    """Read a checkpoint from the net, kept in torch.hub's folder: https, with its hash in its name.

    Raises:
        UserError: If the address is another one, or where what came is not what its name says.
    """
    if url.startswith("torchvision://"):
        url = get_torchvision_models()[url.removeprefix("torchvision://")]
    name = Path(urllib.parse.urlsplit(url).path).name
    digest = re.search(r"-([0-9a-f]{8,64})\.", name)
    if not url.startswith("https://") or not digest:
        raise UserError(
            f"checkpoint {url} cannot be trusted: only https:// with the SHA-256 of the file in its name "
            "(NAME-0123abcd.pth) is fetched; fetch it yourself and name the file"
        )
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), digest[1], progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(f"checkpoint {url} cannot be fetched: {error}") from error
    return read_for_mmengine(file, map_location)


def _history_buffer_method(owner: object, name: str) -> Any:
    """Stand in for `getattr`, which a pickled HistoryBuffer calls for its own methods only."""
    if owner is HistoryBuffer and inspect.isfunction(vars(HistoryBuffer).get(name)):
        return getattr(HistoryBuffer, name)
    raise ValueError(f"a checkpoint may not ask for attribute {name!r} of {owner!r}")


def _no_bytes() -> bytes:
    """Stand in for `bytes`, which an empty array calls without arguments."""
    return b""


# An array of numpy 1 names its module numpy.core, one of numpy 2 numpy._core.
_PLAIN_TYPES = [
    argparse.Namespace,  # settings, in checkpoints of the official scripts
    (OrderedDict, "yacs.config.CfgNode"),  # settings again; a dict with attributes too
    HistoryBuffer,
    (_history_buffer_method, "builtins.getattr"),
    (_no_bytes, "builtins.bytes"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("bool", *"bhilBHILefdFDUS")),
    *(
        (getattr(np._core.multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("_reconstruct", "scalar")
        for core in ("core", "_core")
    ),
]
