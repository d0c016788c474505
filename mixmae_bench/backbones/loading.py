"""Loading a pretrained backbone: never code from a file, never a silent mismatch."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mixmae_bench.backbones.weights import Weights, unwrap
from mixmae_bench.compat.checkpoints import read_for_mmengine
from mixmae_bench.errors import UserError

MIN_FILLED = 99.0
"""Percentage of a backbone's values that a checkpoint must fill."""


class ResizesTables(Protocol):
    """A module with tables of its input size, such as an `Encoder`."""

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor], strict: bool) -> object: ...


def read_weights(path: str | Path, own: Collection[str] = ()) -> Weights:
    """Read the weights of a .safetensors file or of a checkpoint of torch.save, without running its code.

    Args:
        path: A file. An address (`https://...`, `s3://...`) is read by the loader that mmengine has for it:
            that of whoever runs this process, or this package's own where one of its commands does (see
            `compat.checkpoints.safe_loaders`).
        own: Names of the model to fill, where it is known (see `unwrap`).

    Raises:
        UserError: Where the file is missing, damaged, or holds anything but tensors and plain data, or where
            it cannot be told which of several sets of weights is meant.
    """
    if "://" in str(path):
        content = CheckpointLoader.load_checkpoint(str(path), "cpu", "silent")
    else:
        content = read_for_mmengine(str(path))
    try:
        return unwrap(content, own)
    except ValueError as error:
        raise UserError(f"checkpoint {path} {error}") from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors that `read_weights` finds, by name."""
    return read_weights(path).state


def load_backbone(backbone: ResizesTables, path: str | Path) -> dict:
    """Fill `backbone` from a checkpoint of pretraining or fine-tuning, and say what was done.

    Names may carry `backbone.` in front, and wrappers of the model (see `unwrap`). Tables of another input
    size are resized. The out norms of dense tasks are never in a pretraining checkpoint and do not count.

    Returns:
        The audit: `filled` (percentage of the backbone's values), `resized`, `missing` and
        `left_out` (names).

    Raises:
        UserError: Where less than `MIN_FILLED` percent would be filled, or any tensor has another shape
            (of another number of heads, say: a fraction of a percent, and everything wrong); the backbone
            is then untouched.
    """
    own = backbone.state_dict()
    weights = read_weights(path, [*own, *(f"backbone.{name}" for name in own)])
    state, left_out = of_backbone(weights.state)
    fits, audit = fit(backbone, state, path)
    audit["left_out"] = [*left_out, *audit["left_out"]]
    backbone.load_state_dict(fits, strict=False)
    print_log(summary(backbone, len(fits), audit, path, weights.notes), logger="current")
    return audit


def of_backbone(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return what is the backbone's, without `backbone.` in front, and the names of what is not.

    All of it is the backbone's where no name begins so.
    """
    rest = [name for name in state if not name.startswith("backbone.")]
    if len(rest) == len(state):
        return dict(state), []
    return {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}, rest


def fit(
    backbone: ResizesTables, state: dict[str, Tensor], path: str | Path
) -> tuple[dict[str, Tensor], dict]:
    """Return what of `state` fits an encoder, with tables of its size, and the audit; fill nothing.

    Raises:
        UserError: As `load_backbone`.
    """
    try:
        resized = backbone.resize_tables(state)
    except ValueError as error:
        raise UserError(f"checkpoint {path} does not fit {type(backbone).__name__}: {error}") from error
    fits, audit = compare(backbone, state, path)
    return fits, {"filled": audit["filled"], "resized": resized, **audit}


def compare(module: nn.Module, state: dict[str, Tensor], path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Return what of `state` fits a module by name and shape, and the audit without what was resized.

    Args:
        module: The module.
        state: Tensors by its names.
        path: Where they are from.

    Raises:
        UserError: As `load_backbone`.
    """
    own = module.state_dict()
    fits = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    wanted = [k for k, v in own.items() if v.is_floating_point() and not k.startswith("out_norms.")]
    missing = [k for k in wanted if k not in fits]
    filled = 100 * sum(own[k].numel() for k in wanted if k in fits) / sum(own[k].numel() for k in wanted)
    misfits = [k for k in missing if k in state]
    if filled < MIN_FILLED or misfits:
        first = (misfits or missing)[0]
        why = "is not there"
        if misfits:
            why = f"has shape {tuple(state[first].shape)} there, {tuple(own[first].shape)} here"
        raise UserError(
            f"checkpoint {path} fills {filled:.1f}% of {type(module).__name__}, at least "
            f"{MIN_FILLED:.0f}% is needed: '{first}' {why}; "
            "use a checkpoint of this architecture, or convert it first"
        )
    return fits, dict(filled=filled, missing=missing, left_out=[k for k in state if k not in own])


def summary(
    module: nn.Module, tensors: int, audit: dict, path: str | Path, notes: tuple[str, ...] = ()
) -> str:
    """Write an audit in one line, with the number of tensors that were filled, and notes of `unwrap`."""
    parts = [f"loaded {audit['filled']:.1f}% of {type(module).__name__} ({tensors} tensors) from {path}"]
    parts += [f"{key} {len(audit[key])}: {audit[key]}" for key in ("resized", "missing") if key in audit]
    parts.append(f"left out {len(audit['left_out'])}")
    return "; ".join([*parts, *notes])


def load_model(model: nn.Module, path: str | Path) -> None:
    """Fill a whole model from its own checkpoint, every tensor of it; wrappers of it are stripped and named.

    Raises:
        UserError: Where the file cannot be read or any tensor is missing, unknown or of another shape.
    """
    weights = read_weights(path, model.state_dict().keys())
    for note in weights.notes:
        print_log(f"checkpoint {path}: {note}", logger="current")
    try:
        model.load_state_dict(weights.state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"checkpoint {path} is not one of this config's model: {reason}") from error
