"""Whether a forward pass is recorded as a graph that runs elsewhere, and what then counts as fixed."""

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether torch.export, torch.onnx.export or torch.jit.trace records what runs now.

    A recorded graph holds plain operators only: no autograd functions of this package, and no tables that
    an earlier forward pass left behind.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def map_size(maps: Tensor) -> tuple[int, int]:
    """Return (H, W) of maps (B, H, W, C) as integers, which torch.jit.trace gives as tensors.

    A trace therefore holds for one image size. Its batch size stays free.
    """
    return int(maps.shape[1]), int(maps.shape[2])
