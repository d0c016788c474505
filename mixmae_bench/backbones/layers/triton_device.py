"""Where Triton kernels run."""

from functools import cache
from importlib.util import find_spec
from os import environ

import torch

HAS_TRITON = find_spec("triton") is not None


def runs_triton(device: torch.device, capability: tuple[int, int]) -> bool:
    """Return whether Triton kernels run on a device.

    Args:
        device: An NVIDIA GPU with Triton, or the CPU in Triton's interpreter (environment variable
            TRITON_INTERPRET=1).
        capability: Lowest compute capability of the GPU; H100 has (9, 0), A100 (8, 0).
    """
    if device.type == "cuda":
        return HAS_TRITON and _capability(device) >= capability
    return HAS_TRITON and device.type == "cpu" and environ.get("TRITON_INTERPRET") == "1"


@cache  # every layer asks in every step
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device) if torch.version.cuda else (0, 0)
