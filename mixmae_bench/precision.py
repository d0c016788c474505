"""Mixed precision in bfloat16, on CPUs and GPUs that compute in it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mixmae_bench.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast where the hardware computes in it, else in float32.

    Weights, gradients and optimiser state stay float32, and bfloat16 has float32's range, so nothing is
    scaled. (mmengine's AmpOptimWrapper does not run on a CPU.)
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = get_device()
        with (
            super().optim_context(model),
            torch.autocast(device, torch.bfloat16, enabled=computes_bfloat16(device)),
        ):
            yield


def computed_in(optim_wrapper: OptimWrapper, model: nn.Module) -> str:
    """Return the number format of a training's forward pass here, such as 'bfloat16', whatever makes it so.

    That is autocast's where the wrapper turns it on, else the format of the weights.
    """
    device = get_device()
    with optim_wrapper.optim_context(model):
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else next(model.parameters()).dtype
    return str(dtype).removeprefix("torch.")


def computes_bfloat16(device: str) -> bool:
    """Return whether a device of this type ('cpu', 'cuda') multiplies matrices in bfloat16 natively."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False
