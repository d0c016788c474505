"""Load pretrained backbones without executing code from the file and without silent mismatches."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mixmae_bench.backbones.weights import Weights, unwrap
from mixmae_bench.compat.checkpoints import read_for_mmengine
from mixmae_bench.errors import UserError
from mixmae_bench.system.hub import local_file

MIN_FILLED = 99.0
"""Minimum percentage of a backbone's values that a checkpoint must provide."""


ADDED = ("out_norms.", "out_pyramid.")
"""Beginnings of names of layers for dense tasks, which pretraining checkpoints do not contain."""


class ResizesTables(Protocol):
    """A module with tables that depend on the input size, such as an `Encoder`."""

    def resize_tables(self, state: dict[str, Tensor]) -> list[str]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor], strict: bool) -> object: ...


def read_weights(path: str | Path, own: Collection[str] = ()) -> Weights:
    """Read the weights of a .safetensors file or a torch.save checkpoint, without executing code from it.

    Args:
        path: A file, or a name of `system.hub` ('timm:MODEL.TAG'). A URL (`https://...`, `s3://...`) is read
            by the loader that mmengine has registered for its scheme; this package's commands register safe
            ones (see `compat.checkpoints.safe_loaders`).
        own: Names in the state dict of the model to fill, if it is known (see `unwrap`).

    Raises:
        UserError: If the file is missing, damaged, contains anything but tensors and plain data, or contains
            several sets of weights and the choice is ambiguous.
    """
    if "://" in str(path):
        content = CheckpointLoader.load_checkpoint(str(path), "cpu", "silent")
    else:
        content = read_for_mmengine(str(local_file(path)))
    try:
        return unwrap(content, own)
    except ValueError as error:
        raise UserError(f"checkpoint {path} {error}") from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the state dict that `read_weights` finds."""
    return read_weights(path).state


def load_backbone(backbone: ResizesTables, path: str | Path) -> dict:
    """Load a pretraining or fine-tuning checkpoint into `backbone`, and log and return an audit.

    Names may start with `backbone.` or with prefixes of model wrappers (see `unwrap`). Tables of another
    input size are resized. Layers for dense tasks (`ADDED`) are not in pretraining checkpoints and do not
    count.

    Returns:
        The audit: `filled` (percentage of the backbone's values), and the names in `resized`, `missing` and
        `left_out`.

    Raises:
        UserError: If less than `MIN_FILLED` percent would be filled, or any tensor has another shape. A bias
            table for another number of heads is a fraction of a percent, yet the whole model would be wrong.
            The backbone is not modified in these cases.
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
    """Return the tensors under `backbone.` without this prefix, and the names of all other tensors.

    If no name starts with `backbone.`, all tensors belong to the backbone.
    """
    rest = [name for name in state if not name.startswith("backbone.")]
    if len(rest) == len(state):
        return dict(state), []
    return {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}, rest


def fit(
    backbone: ResizesTables, state: dict[str, Tensor], path: str | Path
) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors of `state` that fit an encoder, with resized tables, and the audit; load nothing.

    Raises:
        UserError: See `load_backbone`.
    """
    try:
        resized = backbone.resize_tables(state)
    except ValueError as error:
        raise UserError(f"checkpoint {path} does not fit {type(backbone).__name__}: {error}") from error
    fits, audit = compare(backbone, state, path)
    return fits, {"filled": audit["filled"], "resized": resized, **audit}


def compare(module: nn.Module, state: dict[str, Tensor], path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors of `state` that fit a module by name and shape, and the audit without `resized`.

    Args:
        module: The module.
        state: State dict with the names of the module.
        path: The checkpoint, for error messages.

    Raises:
        UserError: See `load_backbone`.
    """
    own = module.state_dict()
    fits = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    wanted = [k for k, v in own.items() if v.is_floating_point() and not k.startswith(ADDED)]
    missing = [k for k in wanted if k not in fits]
    filled = 100 * sum(own[k].numel() for k in wanted if k in fits) / sum(own[k].numel() for k in wanted)
    misfits = [k for k in missing if k in state]
    if filled < MIN_FILLED or misfits:
        first = (misfits or missing)[0]
        why = "is missing"
        if misfits:
            why = f"has shape {tuple(state[first].shape)}, the model's has {tuple(own[first].shape)}"
        raise UserError(
            f"checkpoint {path} fills {filled:.1f}% of {type(module).__name__}, at least "
            f"{MIN_FILLED:.0f}% is needed: '{first}' {why}; "
            "use a checkpoint of this architecture, or convert it first"
        )
    return fits, dict(filled=filled, missing=missing, left_out=[k for k in state if k not in own])


def summary(
    module: nn.Module, tensors: int, audit: dict, path: str | Path, notes: tuple[str, ...] = ()
) -> str:
    """Format an audit as one line, with the number of loaded tensors and the notes of `unwrap`."""
    parts = [f"loaded {audit['filled']:.1f}% of {type(module).__name__} ({tensors} tensors) from {path}"]
    parts += [f"{key} {len(audit[key])}: {audit[key]}" for key in ("resized", "missing") if key in audit]
    parts.append(f"left out {len(audit['left_out'])}")
    return "; ".join([*parts, *notes])


def load_model(model: nn.Module, path: str | Path) -> None:
    """Load a checkpoint of the same model strictly; prefixes of wrappers are stripped and logged.

    Raises:
        UserError: If the file cannot be read, or any tensor is missing, unexpected or of another shape.
    """
    weights = read_weights(path, model.state_dict().keys())
    for note in weights.notes:
        print_log(f"checkpoint {path}: {note}", logger="current")
    try:
        model.load_state_dict(weights.state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"checkpoint {path} does not fit this config's model: {reason}") from error
