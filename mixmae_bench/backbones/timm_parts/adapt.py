"""Adapt the weights of a checkpoint to the sizes of a timm model, with timm's own functions."""

import sys

import torch
from timm.layers import resample_abs_pos_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

FILTERS = ("checkpoint_filter_fn", "_filter_fn")
"""Names of timm's functions that convert and resize the weights of a family, in the family's module."""

NOT_OFFICIAL = ("head.fc.weight", "head.norm.weight")
"""Names by which timm's filters recognise their own checkpoints; heads only, so they may be missing."""


def adapt(model: nn.Module, kind: type, state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Convert official names in `state` and resize its tables to a model, in place; return resized names.

    Args:
        model: The model.
        kind: Its class in timm.
        state: State dict of a checkpoint.
        own: The model's state dict, without layers that timm's model does not have.
    """
    before = dict(state)
    if any(name not in before or before[name].shape != value.shape for name, value in own.items()):
        converted = _filtered(model, kind, before, own)
        state.clear()
        state.update(converted)
    _adapt_positions(model, state, own)
    _adapt_channels(model, state, own)
    return [name for name in own if name in before and name in state and _differ(before[name], state[name])]


def _differ(old: Tensor, new: Tensor) -> bool:
    return old.shape != new.shape


def _filtered(
    model: nn.Module, kind: type, state: dict[str, Tensor], own: dict[str, Tensor]
) -> dict[str, Tensor]:
    module = sys.modules[kind.__module__]
    function = next((getattr(module, name) for name in FILTERS if hasattr(module, name)), None)
    if function is None:
        return dict(state)
    given = dict(state)
    if set(own) - {name for name in own if name.startswith(("head.", "norm."))} <= set(state):
        for name in NOT_OFFICIAL:  # timm's names: filters must not rename them
            given.setdefault(name, torch.empty(0))
    try:
        converted = function(given, model)
    except TypeError:  # some filters take no model
        converted = function(given)
    return {name: value for name, value in converted.items() if value.numel()}


def _adapt_positions(model: nn.Module, state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Resize an absolute position table (1, tokens, C) that timm's filter left, such as Hiera's."""
    table, wanted = state.get("pos_embed"), own.get("pos_embed")
    if table is None or wanted is None or table.shape == wanted.shape or table.ndim != 3:
        return
    prefix = getattr(model, "num_prefix_tokens", 0)
    grid = getattr(model, "tokens_spatial_shape", None)  # Hiera's
    if grid and wanted.ndim == 3 and table.shape[-1] == wanted.shape[-1]:
        state["pos_embed"] = resample_abs_pos_embed(table, list(grid), num_prefix_tokens=prefix)


def _adapt_channels(model: nn.Module, state: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Sum or repeat the channels of the first convolution for images of other channels, as timm does."""
    first = model.pretrained_cfg.get("first_conv") or ()
    for conv in (first,) if isinstance(first, str) else first:
        name = f"{conv}.weight"
        weight, wanted = state.get(name), own.get(name)
        if (
            weight is not None
            and wanted is not None
            and weight.ndim == 4
            and weight.shape[1] == 3 != wanted.shape[1]
        ):
            state[name] = adapt_input_conv(wanted.shape[1], weight)
