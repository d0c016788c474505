"""Transformer blocks of a model, which are compiled and sharded one by one."""

import torch
from torch import nn

from mixmae_bench.errors import UserError


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model: the modules in its lists with a name that ends in 'blocks'."""
    return [
        block
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and name.endswith("blocks")
        for block in module
    ]


def compile_blocks(model: nn.Module) -> None:
    """Compile every transformer block of a model with `torch.compile`; blocks of equal shapes share code.

    Compiling the whole model at once takes many times as long, as it repeats the code of every block.

    Raises:
        UserError: If the model has no blocks.
    """
    blocks = blocks_of(model)
    if not blocks:
        raise UserError(
            f"{type(model).__name__} has no module list named '*blocks', so nothing can be compiled; leave "
            "compile_blocks or +compile out"
        )
    # Blocks share code that is compiled for every stage, in training and evaluation, and for CUDA graphs.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
    for block in blocks:
        block.compile()
