"""Reading checkpoints without running code from them, here and in mmengine."""

import argparse
import inspect
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file


def read_checkpoint(path: str | Path, map_location: str | torch.device | None = "cpu") -> Any:
    """Read a .safetensors file, or what torch.save wrote: tensors, plain data and mmengine's log buffers.

    Raises:
        FileNotFoundError: Where there is no such file.
        Exception: Of many types, from torch and safetensors, where the file is damaged or holds
            anything else. Nothing of it has run then.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if path.suffix == ".safetensors":
        return load_file(path, device=str(map_location or "cpu"))
    with torch.serialization.safe_globals(_PLAIN_TYPES):
        return torch.load(path, map_location=map_location, weights_only=True)


def why_refused(error: Exception) -> str:
    """Say in one line why `read_checkpoint` failed, without torch's advice to load the file all the same."""
    text = re.sub(r"\x1b\[\d*m", "", " ".join(str(error).split()))
    asked = re.search(r"(GLOBAL [\w.]+|operand \d+)", text)
    if asked:
        return f"it is not plain data but asks for {asked.group(1)}, which is never run"
    return f"{type(error).__name__}: {text.split('Please file an issue')[0][:200]}"


def use_in_mmengine() -> None:
    """Make mmengine load local checkpoints (resume, load_from, Pretrained) by `read_checkpoint`.

    mmengine 0.10.7 cannot resume on torch >= 2.6 at all; the fork allows `getattr` and falls back to
    running the file's code.
    """
    CheckpointLoader.register_scheme(prefixes="", loader=read_checkpoint, force=True)


def _history_buffer_method(owner: object, name: str) -> Any:
    """Stand in for `getattr`, which a pickled HistoryBuffer calls for its own methods only."""
    if owner is HistoryBuffer and inspect.isfunction(vars(HistoryBuffer).get(name)):
        return getattr(HistoryBuffer, name)
    raise ValueError(f"a checkpoint may not ask for attribute {name!r} of {owner!r}")


# An array of numpy 1 names its module numpy.core, one of numpy 2 numpy._core.
_PLAIN_TYPES = [
    argparse.Namespace,  # settings, in checkpoints of the official scripts
    (OrderedDict, "yacs.config.CfgNode"),  # settings again; a dict with attributes too
    HistoryBuffer,
    (_history_buffer_method, "builtins.getattr"),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32")),
    *(
        (getattr(np._core.multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("_reconstruct", "scalar")
        for core in ("core", "_core")
    ),
]
