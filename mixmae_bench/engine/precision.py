"""Training in bfloat16 (mixed precision, on CPUs and GPUs) or TF32 (on GPUs)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mixmae_bench.registry import OPTIM_WRAPPERS

MAX_ISA = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that limit oneDNN's instructions (values in any case); the first one set applies."""

ISAS_WITHOUT_BFLOAT16 = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",  # converts bfloat16, but does not multiply it
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
)
"""Values of these variables below AVX512_CORE_BF16 (see oneDNN's CPU dispatcher control)."""


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Runs the forward pass under bfloat16 autocast if the hardware supports it, else in float32.

    Weights, gradients and optimiser state stay float32. bfloat16 has the range of float32, so the loss is not
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


@OPTIM_WRAPPERS.register_module()
class TF32OptimWrapper(OptimWrapper):
    """Multiplies float32 matrices in TF32 on GPUs: inputs have 10 bits of mantissa, sums are float32.

    On other devices it computes in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), tf32():
            yield

    def backward(self, loss: Tensor, **kwargs: object) -> None:
        with tf32():
            super().backward(loss, **kwargs)


@contextmanager
def tf32() -> Iterator[None]:
    """Allow TF32 in matrix products and convolutions on GPUs."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def computed_in(optim_wrapper: OptimWrapper, model: nn.Module) -> str:
    """Return the number format of the forward pass in training on this device, such as 'bfloat16' or 'tf32'.

    It is autocast's dtype if the wrapper enables autocast, else the dtype of the weights, or TF32 on a GPU if
    the wrapper allows it.
    """
    device = get_device()
    with optim_wrapper.optim_context(model):
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else next(model.parameters()).dtype
        if device == "cuda" and dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
            return "tf32"
    return str(dtype).removeprefix("torch.")


def computes_bfloat16(device: str) -> bool:
    """Return whether a device of this type ('cpu', 'cuda') multiplies matrices in bfloat16 natively."""
    return why_not_bfloat16(device) is None


def why_not_bfloat16(device: str) -> str | None:
    """Return why a device of this type ('cpu', 'cuda') would emulate bfloat16, or None if it is native.

    A CPU needs the instructions, and libraries that use them; environment variables can disable them.
    Emulation is up to 100 times slower than float32.
    """
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if native else "not supported by this GPU"
    if device != "cpu":
        return f"not tested on {device}"
    features = torch.cpu.get_capabilities()
    x86 = features.get("architecture") == "x86_64"
    if not any(features.get(name) for name in (("avx512_bf16", "amx_bf16") if x86 else ("bf16", "sve_bf16"))):
        return "not supported by this CPU"
    if not torch.backends.mkldnn.is_available():
        return "PyTorch is built without oneDNN"
    if not torch.backends.mkldnn.enabled:
        return "torch.backends.mkldnn.enabled is False"
    return _limit_of_x86() if x86 else None


def _limit_of_x86() -> str | None:
    """Return the setting that disables bfloat16 instructions of the CPU, or None."""
    name = next((name for name in MAX_ISA if os.environ.get(name)), None)
    if name and os.environ[name].upper() in ISAS_WITHOUT_BFLOAT16:
        return f"{name} is {os.environ[name]}"
    kernels = torch.backends.cpu.get_cpu_capability()  # PyTorch's own, limited by ATEN_CPU_CAPABILITY
    return f"ATEN_CPU_CAPABILITY is {kernels}" if kernels in ("DEFAULT", "AVX2") else None
