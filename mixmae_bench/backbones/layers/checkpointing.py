"""Activation checkpointing: less memory in training for one more forward pass of every block."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def call(block: nn.Module, *args: object, with_cp: bool) -> Tensor:
    """Call a block; with `with_cp`, its activations are computed again in the backward pass, not kept.

    Random numbers (stochastic depth) are drawn alike both times. Non-reentrant: outputs and gradients are
    those without it, also where no input needs a gradient and under DistributedDataParallel.
    """
    if with_cp and torch.is_grad_enabled():
        return checkpoint(block, *args, use_reentrant=False)
    return block(*args)
