"""Mixed precision in bfloat16, on CPUs and GPUs that compute in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mixmae_bench.registry import OPTIM_WRAPPERS

MAX_ISA = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Variables that limit the instructions of oneDNN, in upper or lower case; the first that is set counts."""

ISAS_WITHOUT_BFLOAT16 = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",  # converts bfloat16, but does not multiply it
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
)
"""Values of these variables below AVX512_CORE_BF16 (its CPU dispatcher control)."""


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
    return why_not_bfloat16(device) is None


def why_not_bfloat16(device: str) -> str | None:
    """Return why a device of this type ('cpu', 'cuda') would emulate bfloat16, or None if it is native.

    A CPU needs the instructions, and libraries that may use them. A user can forbid that by environment
    variables; emulation is up to 100 times as slow as float32.
    """
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if native else "this GPU does not compute in it"
    if device != "cpu":
        return f"not tried on {device}"
    features = torch.cpu.get_capabilities()
    x86 = features.get("architecture") == "x86_64"
    if not any(features.get(name) for name in (("avx512_bf16", "amx_bf16") if x86 else ("bf16", "sve_bf16"))):
        return "this CPU does not compute in it"
    if not torch.backends.mkldnn.is_available():
        return "PyTorch is built without oneDNN"
    if not torch.backends.mkldnn.enabled:
        return "torch.backends.mkldnn.enabled is False"
    return _limit_of_x86() if x86 else None


def _limit_of_x86() -> str | None:
    """Return the setting that keeps a library from instructions that the CPU has, or None."""
    name = next((name for name in MAX_ISA if os.environ.get(name)), None)
    if name and os.environ[name].upper() in ISAS_WITHOUT_BFLOAT16:
        return f"{name} is {os.environ[name]}"
    kernels = torch.backends.cpu.get_cpu_capability()  # of PyTorch itself, after ATEN_CPU_CAPABILITY
    return f"ATEN_CPU_CAPABILITY is {kernels}" if kernels in ("DEFAULT", "AVX2") else None
