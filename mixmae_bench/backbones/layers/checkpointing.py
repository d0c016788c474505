"""Activation checkpointing: less memory in training, at the cost of a second forward pass of every block."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def call(block: nn.Module, *args: object, with_cp: bool) -> Tensor:
    """Call a block; if `with_cp`, recompute its activations in the backward pass instead of storing them.

    Both forward passes use the same random numbers (stochastic depth). Checkpointing is non-reentrant:
    outputs and gradients are unchanged, even if no input requires a gradient, and under
    DistributedDataParallel.
    """
    if with_cp and torch.is_grad_enabled():
        return checkpoint(block, *args, use_reentrant=False)
    return block(*args)
