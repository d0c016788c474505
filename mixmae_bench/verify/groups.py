"""Comparison of learning rates and weight decay of all parameters with those of the official scripts."""

import math
from collections.abc import Iterator

from mixmae_bench.backbones.official.names import our_name
from mixmae_bench.errors import UserError
from mixmae_bench.transfer.layer_decay import LayerDecayOptimWrapperConstructor
from mixmae_bench.verify.case import Case, Groups
from mixmae_bench.verify.checks import Check
from mixmae_bench.verify.models import build


def check_groups(case: Case) -> Iterator[Check]:
    """Compare lr scale and weight decay of every parameter; the error is the number of differing parameters.

    Raises:
        UserError: If the recorded groups are not pairs.
    """
    for groups in case.groups:
        _check_pairs(groups)
        model, kind = build(case)
        names = {our_name(name, kind.rules): name for name in groups.parameters}
        options = dict(kind.groups, layer_decay_rate=groups.layer_decay)
        # The official lists contain names of all their models, so names without a match are not an error.
        options["no_decay"] = [
            end
            for end in options.get("no_decay", [])
            if any(f".{name}".endswith(f".{end}") for name in names)
        ]
        optimizer = dict(type="AdamW", lr=1.0, weight_decay=groups.weight_decay)
        params: list[dict] = []
        LayerDecayOptimWrapperConstructor(dict(optimizer=optimizer), options).add_params(params, model)
        made = {id(p): (group["lr"], group["weight_decay"]) for group in params for p in group["params"]}
        ours = {names.get(name, name): made.get(id(p)) for name, p in model.named_parameters()}
        differ = [
            name
            for name in sorted(ours.keys() | groups.parameters.keys())
            if name not in ours
            or name not in groups.parameters
            or not _equal(ours[name], groups.parameters[name])
        ]
        title = f"parameter groups, layer_decay {groups.layer_decay}"
        if differ:
            title += f": {differ[0]} differs"
        yield Check(title, len(differ), 0)


def _check_pairs(groups: Groups) -> None:
    if not isinstance(groups.parameters, dict):
        raise UserError(f"parameter groups are {groups.parameters!r}, not an object with names as keys")
    for name, pair in groups.parameters.items():
        good = isinstance(pair, list) and len(pair) == 2 and all(isinstance(n, int | float) for n in pair)
        if not good and pair is not None:
            raise UserError(f"the parameter group of '{name}' is {pair!r}, not [lr scale, weight decay]")


def _equal(ours: tuple[float, float] | None, theirs: tuple[float, float] | None) -> bool:
    """Return whether two (lr scale, weight decay) are equal up to rounding; None is a frozen parameter."""
    if ours is None or theirs is None:
        return ours is None and theirs is None
    return math.isclose(ours[0], theirs[0], rel_tol=1e-9) and ours[1] == theirs[1]
