"""Find the state dict in a checkpoint, and strip prefixes of model wrappers from its names."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

SETS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "student", "params", "weights")
"""Keys under which training code saves weights. If there are several, the first in this order is taken."""

ROOTS = ("module", "model", "net", "network", "student", "online_model")
"""First parts of names added by what contains the model, such as DDP or a Lightning module."""

WRAPPERS = {
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_fpw_module",
    "_forward_module",
}
"""Parts of names added anywhere by wrappers: torch.compile, FSDP, activation checkpointing, DeepSpeed."""

AVERAGED = re.compile(r"(.*_)?(ema|teacher|swa|momentum|averaged?|averaging)(_.*)?|target_encoder")
"""Keys, and first parts of names, of a moving average of the weights."""

IN_PLACE = {"ema_state_dict": "steps", "current_model_state": ""}
"""Keys of raw weights that are saved while `state_dict` contains the moving average, and a name among them.

mmengine's EMAHook swaps the two sets on saving: `state_dict` contains the averaged weights, which were
validated, and `ema_state_dict` contains the raw weights and a counter `steps`. Lightning's WeightAveraging
swaps them likewise, under `current_model_state`.
"""

_OTHER = re.compile(
    r"(.*_)?(optim\w*|(lr)?sched\w*|(amp|grad)?scaler|hyper|callbacks?|loops?|args?|config|cfg|meta|hub|rng|random)(_.*)?"
)
"""Keys of what is no weights, though there may be tensors by name in it."""


@dataclass(frozen=True)
class Weights:
    """Result of `unwrap`.

    Attributes:
        state: State dict, without prefixes of wrappers.
        notes: Messages on which weights were chosen, and what was stripped from names or left out.
    """

    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def unwrap(content: object, own: Collection[str] = ()) -> Weights:
    """Find the weights in the content of a checkpoint.

    If there are raw weights and a moving average, the raw weights are taken. Exception: mmengine's EMAHook
    and Lightning's WeightAveraging save the average under `state_dict`, and this average is taken.

    Args:
        content: Content of the checkpoint.
        own: Names in the state dict of the model to fill, if it is known; these names are not changed.

    Raises:
        ValueError: If there are no weights, or several sets of weights and the choice is ambiguous.
    """
    state, notes = _chosen(content)
    state = {name: value for name, value in state.items() if isinstance(name, str)}
    state = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError("contains no state dict; give a state dict or a checkpoint of a run")
    own = set(own)
    own_parts = {part for name in own for part in name.split(".")}
    own_roots = {_root(name) for name in own}
    if averages := _averages(state, own_roots):
        notes.append(f"ignored the moving average under {_quoted(averages)}")
        state = {name: value for name, value in state.items() if _root(name) not in averages}
    stripped: list[str] = []
    while True:
        if wrappers := sorted({part for name in state for part in name.split(".")} & WRAPPERS - own_parts):
            state = _without(wrappers, state)
            stripped += [f"'{part}.'" for part in wrappers]
        elif (root := _model_root(state, own)) is not None:
            if outside := [name for name in state if _root(name) != root]:
                notes.append(f"left out {len(outside)} tensors outside '{root}.': {_quoted(outside)}")
            if AVERAGED.fullmatch(root):
                notes.append(f"took the moving average under '{root}.', the only weights")
            state = {name.partition(".")[2]: state[name] for name in state if _root(name) == root}
            stripped.append(f"'{root}.'")
        else:
            break
    if stripped:
        notes.append(f"stripped {', '.join(dict.fromkeys(stripped))} from names")
    return Weights(state, tuple(notes))


def _chosen(content: object) -> tuple[dict, list[str]]:
    """Return the state dict inside nested dicts, and notes on the choices made."""
    notes: list[str] = []
    while isinstance(content, dict):
        sets = [key for key, value in content.items() if isinstance(key, str) and _is_set(key, value)]
        matrices = (v for v in content.values() if isinstance(v, Tensor) and v.ndim > 1)
        if not sets or (not set(sets) & set(SETS) and any(True for _ in matrices)):
            if sets:
                notes.append(f"took the weights at the top level and ignored {_quoted(sets)}")
            return content, notes
        swapped = [
            key
            for key, mark in IN_PLACE.items()
            if key in sets and "state_dict" in sets and (not mark or mark in content[key])
        ]
        averages = [key for key in sets if AVERAGED.fullmatch(key) and key not in swapped]
        raw = [key for key in sets if key not in averages and key not in swapped]
        taken = next((key for key in SETS if key in raw), None)
        if taken is None:
            if len(raw or averages) != 1:
                raise ValueError(f"contains several sets of weights, {_quoted(sets)}; save one of them alone")
            (taken,) = raw or averages
        if swapped:
            notes.append(
                f"took '{taken}', a moving average, and ignored the raw weights under {_quoted(swapped)}"
            )
        elif raw and averages:
            notes.append(
                f"took the raw weights under '{taken}' and ignored the moving average under "
                f"{_quoted(averages)}"
            )
        elif averages:
            notes.append(f"took the moving average under '{taken}', the only weights")
        if others := [key for key in raw if key != taken]:
            notes.append(f"took '{taken}' and ignored {_quoted(others)}")
        content = content[taken]
    return {}, notes


def _is_set(key: str, value: object) -> bool:
    """Return whether a value is or contains a set of weights; under an unknown key, only matrices count."""
    if not isinstance(value, dict) or _OTHER.fullmatch(key):
        return False
    known = key in SETS or key in IN_PLACE or AVERAGED.fullmatch(key)
    for name, inner in value.items():
        if isinstance(inner, Tensor) and isinstance(name, str):
            if known or (inner.ndim > 1 and inner.is_floating_point()):
                return True
        elif isinstance(name, str) and _is_set(name, inner):
            return True
    return False


def _averages(state: dict[str, Tensor], own_roots: set[str]) -> list[str]:
    """Return the first parts of names of moving averages, or nothing if there are no other weights."""
    roots = list(dict.fromkeys(_root(name) for name in state))
    averages = [root for root in roots if AVERAGED.fullmatch(root) and root not in own_roots]
    return averages if len(averages) < len(roots) else []


def _without(wrappers: list[str], state: dict[str, Tensor]) -> dict[str, Tensor]:
    bare = {".".join(part for part in name.split(".") if part not in wrappers): name for name in state}
    if len(bare) < len(state):
        raise ValueError(f"has the same names with and without {_quoted(wrappers)}")
    return {name: state[theirs] for name, theirs in bare.items()}


def _model_root(state: dict[str, Tensor], own: set[str]) -> str | None:
    """Return the first part of names under which the model is, or None."""
    roots = {_root(name) for name in state if "." in name} - {_root(name) for name in own & state.keys()}
    found = [root for root in ROOTS if root in roots]
    if len(found) > 1:
        raise ValueError(f"contains several models, under {_quoted(found)}; save one of them alone")
    if found:
        return found[0]
    if len(roots) == 1 and AVERAGED.fullmatch(*roots):
        return roots.pop()
    return None


def _root(name: str) -> str:
    return name.partition(".")[0]


def _quoted(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
