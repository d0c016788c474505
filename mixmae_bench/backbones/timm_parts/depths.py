"""Layer depths from the `group_matcher` of a timm model, checked against the order of its forward pass."""

from collections.abc import Callable, Iterable
from itertools import chain, pairwise

import torch
from timm.models._manipulate import group_with_matcher
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mixmae_bench.errors import UserError

HEAD = "\0"
"""A name that no group matcher matches: it gets the depth of the head."""


def layer_depths(model: nn.Module, names: Iterable[str], coarse: bool = False) -> tuple[dict[str, int], int]:
    """Return the depth of every parameter by timm's `group_matcher`, and the depth of the head.

    Parameters that the matcher does not match have the depth of the head, as in timm's optimisers.

    Args:
        model: A timm backbone.
        names: Names of its parameters.
        coarse: Whether depths count stages instead of blocks.

    Raises:
        UserError: If the model has no usable `group_matcher`.
    """
    named = chain(((name, None) for name in names), [(HEAD, None)])
    try:
        depths = group_with_matcher(named, model.group_matcher(coarse=coarse), reverse=True)
    except Exception as error:  # each family of timm has its own code
        part, remedy = ("stages", "frozen_stages -1") if coarse else ("layers", "layer_decay_rate 1.0")
        raise UserError(
            f"timm's {model.timm_name} does not group its {part} ({type(error).__name__}: {error}); "
            f"set {remedy}"
        ) from error
    return depths, depths.pop(HEAD)


class _FirstUse(TorchFunctionMode):
    """Records the names of parameters in the order of their first use by a function of torch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.known = {id(p): name for name, p in model.named_parameters()}
        self.names: dict[str, None] = {}

    def __torch_function__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        if getattr(func, "__name__", "") != "__get__":  # reading a shape or a data type is no use
            for leaf in tree_leaves((args, kwargs)):
                if id(leaf) in self.known:
                    self.names.setdefault(self.known[id(leaf)])
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def forward_order(model: nn.Module, size: tuple[int, int], in_chans: int) -> list[str]:
    """Return the parameters that a forward pass uses, in the order of their first use.

    Args:
        model: A model of images; its mode is kept.
        size: Height and width of the image.
        in_chans: Channels of the image.
    """
    like = next(model.parameters())
    training = {module: module.training for module in model.modules()}
    model.eval()
    with _FirstUse(model) as used:
        model(torch.zeros(1, in_chans, *size, dtype=like.dtype, device=like.device))
    for module, mode in training.items():
        module.training = mode
    return list(used.names)


def check_order(depths: dict[str, int], order: list[str], name: str) -> None:
    """Check that depths never decrease in forward order.

    It covers parameters without a match too: they have the depth of the head, and may only be used last.

    Raises:
        UserError: If a parameter is less deep than one that is used before it.
    """
    for before, after in pairwise(order):
        if depths[after] < depths[before]:
            raise UserError(
                f"layer depths of timm's {name} decrease in forward order: '{after}' has depth "
                f"{depths[after]} and is used after '{before}' of depth {depths[before]}; its group_matcher "
                "cannot be used for layer decay"
            )
