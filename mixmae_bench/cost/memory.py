"""Peak memory of this process, on a GPU or in main memory."""

import ctypes
import gc
import resource
from pathlib import Path

import torch

LINUX_RESET = Path("/proc/self/clear_refs")


def reset_peak_memory() -> None:
    """Reset the peak, and return freed memory to the system."""
    gc.collect()  # a Runner has reference cycles
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif LINUX_RESET.exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)  # glibc keeps freed memory
        LINUX_RESET.write_text("5")  # resets VmHWM, see proc(5)


def peak_memory() -> int:
    """Return the peak of allocated GPU memory, or of resident memory, in bytes, since the last reset.

    On systems that cannot reset the peak of resident memory (macOS), it is the peak since the process began.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if not LINUX_RESET.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
