"""The choice of how window attention is computed. This is the only place that decides it.

| form | computed as | chosen for |
| --- | --- | --- |
| segments | tokens gathered by segment, buckets of equal length apart (`windows.Partition`) | CPUs, exporters, counting of FLOPs |
| kernel | dense windows (`dense_windows.DenseWindows`), one fused kernel (`window_kernel`) | GPUs from H100 on, in 16-bit formats with 32 channels per head |
| plain | the same windows with masked logits, PyTorch's attention | GPUs, for everything else |

The environment variable `MIXMAE_BENCH_ATTENTION` or the context manager `attention_form` forces a form.
"""  # noqa: E501 (rows of the table)

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mixmae_bench.backbones.layers.tracing import is_traced
from mixmae_bench.errors import UserError

VARIABLE = "MIXMAE_BENCH_ATTENTION"
FORMS = ("auto", "plain", "kernel", "segments")

_forced: str | None = None
_used: set[str] | None = None
_whole_windows = False


@contextmanager
def attention_form(form: str) -> Iterator[None]:
    """Force a form of window attention, one of `FORMS`; this has precedence over the environment variable."""
    global _forced
    before, _forced = _forced, _checked(form, "attention_form")
    try:
        yield
    finally:
        _forced = before


def chosen_form(device: torch.device, kernel_wins: bool = False) -> str:
    """Return the form of window attention on a device: 'segments', 'plain' or 'kernel'.

    Args:
        device: Device of the tokens.
        kernel_wins: Whether the kernel supports the sizes and is faster (`window_kernel.kernel_wins`).

    Raises:
        UserError: If the environment variable has another value than `FORMS`, or the kernel is forced where
            a graph is exported.
    """
    forced = _forced or _checked(os.environ.get(VARIABLE) or "auto", VARIABLE)
    if _whole_windows:
        return "segments"
    if is_traced():  # graphs contain standard operators only
        if forced == "kernel":
            raise UserError(f"the attention kernel cannot be exported; set {VARIABLE}=auto")
        return "segments"
    if forced != "auto":
        return forced
    if device.type in ("cpu", "meta"):
        return "segments"
    return "kernel" if kernel_wins else "plain"


@contextmanager
def forms_used() -> Iterator[set[str]]:
    """Yield a set to which the forms are added that window attention uses inside this context."""
    global _used
    before, _used = _used, set()
    try:
        yield _used
    finally:
        _used = before


def use(form: str) -> str:
    """Return the form, and add it to the set of `forms_used`."""
    if _used is not None:
        _used.add(form)
    return form


def _checked(form: str, source: str) -> str:
    if form not in FORMS:
        raise UserError(f"{source} is '{form}'; give one of {', '.join(FORMS)}")
    return form


@contextmanager
def whole_windows() -> Iterator[None]:
    """Partition maps into unshifted windows only, without segment IDs. Use this to count FLOPs only.

    The official implementations compute all logits of a window and mask some of them. UM-MAE's embeds removed
    patches too, and computes equal biases again for every window. Inside this context, a forward pass
    performs the same operations, so FLOPs are comparable to theirs, for every form of attention. Outputs are
    not meaningful. Windows of visible tokens (GreenMIM) are computed in groups, with masked logits.
    """
    global _whole_windows
    before, _whole_windows = _whole_windows, True
    try:
        yield
    finally:
        _whole_windows = before


def windows_are_whole() -> bool:
    """Return whether `whole_windows` is active."""
    return _whole_windows
