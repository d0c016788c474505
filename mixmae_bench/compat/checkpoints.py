"""Read checkpoints without running code from them, in this package and in mmengine."""

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
    """Read a .safetensors file or a file of torch.save with tensors, plain data and mmengine's log buffers.

    Args:
        path: The file.
        map_location: Device of the tensors.
        mmap: Whether to memory-map the tensors.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a checksum is wrong.
        Exception: If the file is damaged or contains anything else; torch and safetensors raise many types.
            No code from the file is run.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if path.suffix == ".safetensors":
        return load_file(path, device=str(map_location or "cpu"))
    if reason := damage(path):
        raise ValueError(reason)
    with torch.serialization.safe_globals(_PLAIN_TYPES), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # the error explains it
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)


def damage(path: Path) -> str | None:
    """Check the checksums in a file of torch.save, which torch ignores; return what is damaged, or None.

    Return None also if the file is not a zip archive: torch before 1.6 wrote another format without
    checksums. An intact file is not checked again by this process until it changes.
    """
    if _version(path) in _whole:
        return None
    found = _damage(path)
    if found is None:
        trust(path)
    return found


def trust(path: Path) -> None:
    """Skip the checksums of a file until it changes, as another process has checked them."""
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
    except Exception as error:  # a damaged archive directory can raise anything
        return f"damaged: {error}"
    return f"damaged: the checksum of its part {part} is wrong" if part else None


def why_refused(error: Exception) -> str:
    """Return in one line why `read_checkpoint` failed, without torch's advice to load the file anyway."""
    text = re.sub(r"\x1b\[\d*m", "", " ".join(str(error).split()))
    asked = re.search(r"(GLOBAL [\w.]+|operand \d+)", text)
    if asked:
        return f"it is not plain data but asks for {asked.group(1)}, which is never run"
    return f"{type(error).__name__}: {text.split('Please file an issue')[0][:200]}"


@contextmanager
def safe_loaders() -> Iterator[None]:
    """Make mmengine load all checkpoints (resume, load_from, Pretrained) with `read_checkpoint`.

    It is used within this package's commands only; importing this package does not change mmengine's loaders.
    The loaders of mmengine 0.10.7 cannot resume on torch >= 2.6. The loaders of onedl-mmengine allow
    `getattr`, fall back to running a file's code, and do not check downloaded files.
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
    """Read a checkpoint for mmengine; errors are reported in one line.

    `meta.config` is removed, as mmengine would run it as code on a resume; mmengine's own checkpoints do not
    have it.

    Raises:
        UserError: If the file is missing or damaged, or contains anything but tensors and plain data.
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
    """Download a checkpoint to torch.hub's folder and read it; only https:// with a hash in the file name.

    Raises:
        UserError: If the address is not of this form, or the file does not match its hash.
    """
    if url.startswith("torchvision://"):
        url = get_torchvision_models()[url.removeprefix("torchvision://")]
    name = Path(urllib.parse.urlsplit(url).path).name
    digest = re.search(r"-([0-9a-f]{8,64})\.", name)
    if not url.startswith("https://") or not digest:
        raise UserError(
            f"checkpoint {url} cannot be trusted: only https:// with the SHA-256 of the file in its name "
            "(NAME-0123abcd.pth) is downloaded; download it yourself and give the file"
        )
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), digest[1], progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(f"checkpoint {url} cannot be downloaded: {error}") from error
    return read_for_mmengine(file, map_location)


def _history_buffer_method(owner: object, name: str) -> Any:
    """Replacement of `getattr`, which a pickled HistoryBuffer calls for its own methods only."""
    if owner is HistoryBuffer and inspect.isfunction(vars(HistoryBuffer).get(name)):
        return getattr(HistoryBuffer, name)
    raise ValueError(f"a checkpoint may not ask for attribute {name!r} of {owner!r}")


def _no_bytes() -> bytes:
    """Replacement of `bytes`, which a pickled empty array calls without arguments."""
    return b""


# Pickled arrays of numpy 1 refer to the module numpy.core, those of numpy 2 to numpy._core.
_PLAIN_TYPES = [
    argparse.Namespace,  # settings, in checkpoints of the official scripts
    (OrderedDict, "yacs.config.CfgNode"),  # settings; a dict that may have attributes too
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
