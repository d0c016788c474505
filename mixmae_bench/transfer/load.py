"""Loading a pretrained backbone: never code from a file, never a silent mismatch."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.logging import print_log
from safetensors.torch import load_file
from torch import Tensor

from mixmae_bench.errors import UserError

if TYPE_CHECKING:
    from mixmae_bench.backbones.encoder import Encoder

MIN_FILLED = 99.0
"""Percentage of a backbone's values that a checkpoint must fill."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file or of a checkpoint of torch.save, without running its code.

    Takes the dict under 'state_dict' (OpenMMLab) or 'model' (MixMIM, SimMIM, UM-MAE) where there is one.

    Raises:
        UserError: Where the file is missing, damaged, or holds anything but tensors and plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist; check the path")
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            with torch.serialization.safe_globals(mmengine_log_types()):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many types for a damaged file
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"checkpoint {path} cannot be read as weights: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    state = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not state:
        raise UserError(f"checkpoint {path} holds no tensors by name; give a state dict or a checkpoint of a run")
    return state


def mmengine_log_types() -> list:
    """Return what mmengine's own checkpoints hold beside tensors and plain data (its log buffers)."""
    import numpy as np
    from mmengine.logging import HistoryBuffer

    # The last ones are how numpy pickles an array of a plain type.
    return [HistoryBuffer, np._core.multiarray._reconstruct, np._core.multiarray.scalar, np.ndarray, np.dtype] + [
        type(np.dtype(kind)) for kind in ("float64", "float32", "int64")
    ]


def load_backbone(backbone: "Encoder", path: str | Path) -> dict:
    """Fill `backbone` from a checkpoint of pretraining or fine-tuning, and say what was done.

    Names may carry `backbone.` in front. Tables of another input size are resized. The out norms of
    dense tasks are never in a pretraining checkpoint and do not count.

    Returns:
        The audit: `filled` (percentage of the backbone's values), `resized`, `missing` and
        `left_out` (names).

    Raises:
        UserError: Where less than `MIN_FILLED` percent would be filled; the backbone is then untouched.
    """
    state = read_state_dict(path)
    if any(name.startswith("backbone.") for name in state):
        left_out = [name for name in state if not name.startswith("backbone.")]
        state = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    else:
        left_out = []
    try:
        resized = backbone.resize_tables(state)
    except ValueError as error:
        raise UserError(f"checkpoint {path} does not fit {type(backbone).__name__}: {error}") from error

    own = backbone.state_dict()
    fits = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    left_out += [k for k in state if k not in own]
    wanted = [k for k in own if not k.startswith("out_norms.")]
    missing = [k for k in wanted if k not in fits]
    filled = 100 * sum(own[k].numel() for k in wanted if k in fits) / sum(own[k].numel() for k in wanted)
    if filled < MIN_FILLED:
        first = missing[0]
        why = f"has shape {tuple(state[first].shape)} there, {tuple(own[first].shape)} here" if first in state else "is not there"
        raise UserError(
            f"checkpoint {path} fills {filled:.1f}% of {type(backbone).__name__}, at least {MIN_FILLED:.0f}% is needed: "
            f"'{first}' {why}; use a checkpoint of this architecture, or convert it first"
        )
    backbone.load_state_dict(fits, strict=False)
    print_log(
        f"loaded {filled:.1f}% of {type(backbone).__name__} ({len(fits)} tensors) from {path}; "
        f"resized {len(resized)}: {resized}; missing {len(missing)}: {missing}; left out {len(left_out)}",
        logger="current",
    )
    return dict(filled=filled, resized=resized, missing=missing, left_out=left_out)
