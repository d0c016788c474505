"""Support for torch.export, torch.onnx.export and torch.jit.trace."""

import torch
from torch import Tensor


def is_traced() -> bool:
    """Return whether torch.export, torch.onnx.export or torch.jit.trace is recording.

    A recorded graph must contain standard operators only: no autograd functions of this package, and no
    tensors cached by an earlier forward pass.
    """
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def map_size(maps: Tensor) -> tuple[int, int]:
    """Return (H, W) of maps (B, H, W, C) as integers; in torch.jit.trace, sizes are tensors.

    A trace is therefore valid for one image size, but for any batch size.
    """
    return int(maps.shape[1]), int(maps.shape[2])
