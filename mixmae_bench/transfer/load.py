"""Loading a pretrained backbone: never code from a file, never a silent mismatch."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mixmae_bench.compat import openmmlab
from mixmae_bench.errors import UserError

if TYPE_CHECKING:
    from mixmae_bench.backbones.encoder import Encoder

MIN_FILLED = 99.0
"""Percentage of a backbone's values that a checkpoint must fill."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file or of a checkpoint of torch.save, without running its code.

    `path` is a file, or an address as `compat.checkpoints` takes them.

    Takes the dict under 'state_dict' (OpenMMLab) or 'model' (MixMIM, SimMIM, UM-MAE) where there is one.

    Raises:
        UserError: Where the file is missing, damaged, or holds anything but tensors and plain data.
    """
    openmmlab.adapt()  # mmengine's loader, for files and addresses
    content = CheckpointLoader.load_checkpoint(str(path), "cpu", "silent")
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    state = _tensors(content)
    if not state:
        raise UserError(
            f"checkpoint {path} holds no tensors by name; give a state dict or a checkpoint of a run"
        )
    return state


def _tensors(content: object) -> dict[str, Tensor]:
    """Return what a dict holds of tensors by name; nothing where it is no dict."""
    items = content.items() if isinstance(content, dict) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}


def load_backbone(backbone: "Encoder", path: str | Path) -> dict:
    """Fill `backbone` from a checkpoint of pretraining or fine-tuning, and say what was done.

    Names may carry `backbone.` in front. Tables of another input size are resized. The out norms of
    dense tasks are never in a pretraining checkpoint and do not count.

    Returns:
        The audit: `filled` (percentage of the backbone's values), `resized`, `missing` and
        `left_out` (names).

    Raises:
        UserError: Where less than `MIN_FILLED` percent would be filled, or any tensor has another shape
            (of another number of heads, say: a fraction of a percent, and everything wrong); the backbone
            is then untouched.
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
    misfits = [k for k in missing if k in state]
    if filled < MIN_FILLED or misfits:
        first = (misfits or missing)[0]
        why = "is not there"
        if misfits:
            why = f"has shape {tuple(state[first].shape)} there, {tuple(own[first].shape)} here"
        raise UserError(
            f"checkpoint {path} fills {filled:.1f}% of {type(backbone).__name__}, at least "
            f"{MIN_FILLED:.0f}% is needed: '{first}' {why}; "
            "use a checkpoint of this architecture, or convert it first"
        )
    backbone.load_state_dict(fits, strict=False)
    print_log(
        f"loaded {filled:.1f}% of {type(backbone).__name__} ({len(fits)} tensors) from {path}; "
        f"resized {len(resized)}: {resized}; missing {len(missing)}: {missing}; left out {len(left_out)}",
        logger="current",
    )
    return dict(filled=filled, resized=resized, missing=missing, left_out=left_out)


def load_model(model: nn.Module, path: str | Path) -> None:
    """Fill a whole model from its own checkpoint, every tensor of it.

    Raises:
        UserError: Where the file cannot be read or any tensor is missing, unknown or of another shape.
    """
    try:
        model.load_state_dict(read_state_dict(path), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"checkpoint {path} is not one of this config's model: {reason}") from error
