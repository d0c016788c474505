"""Window attention with a relative position bias and segment IDs as a fused kernel for NVIDIA GPUs.

Logits stay on the chip and are computed again in the backward pass. Tokens stay in the order of the map: the
kernels in `window_kernel_triton` gather the rows of a window and write results back in the same places.
Results and all gradients are deterministic, because no kernel uses atomic operations.

Cost of one layer with 128 images of 56x56 tokens, windows of 14x14 and 4 heads of 32 channels in bfloat16:
3.1e8 logits take 64 multiply-adds each forward and 224 backward. Forward reads 0.3 GB and writes 0.1 GB of
memory. Backward reads 0.9 GB and writes 0.3 GB. Blocks of one window share keys and values in the L2 cache.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mixmae_bench.backbones.layers.triton_device import runs_triton

MAX_HEAD_DIM = 64
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
MAX_SLOTS = 256
PROGRAMS = 768
"""Programs that a launch over chunks of images should have: about 6 per multiprocessor of an H100."""


@dataclass(frozen=True)
class Launch:
    """Sizes of the blocks of a program, its warps, and the stages of its pipeline."""

    queries: int
    keys: int
    num_warps: int = 4
    num_stages: int = 1


def launch_of(slots: int, itemsize: int, shared: bool, backward: bool) -> Launch:
    """Return the launch settings of a kernel that handles a block of slots against all slots of a window.

    They are the fastest of those tried on an H100 with 196 slots. 4 warps with twice the registers of 8 were
    faster by 40 % forward and 10 % backward.

    Args:
        slots: Slots per window.
        itemsize: Bytes per value. Without TF32, float32 products run without matrix units, need the registers
            of more warps, and fill the shared memory: 221 of 227 KB for 256 slots of 64 channels.
        shared: Whether biases stay in registers for all images. Then the loop over images is pipelined: it
            loads keys and values one image ahead.
        backward: Whether the kernel computes gradients, and needs two more blocks of logits in registers.

    Returns:
        Settings with `queries` for the block and `keys` for all slots.
    """
    every = 64 if slots <= 64 else 128 if slots <= 128 else 256
    if itemsize == 4:
        return Launch(16 if every == 256 else 32, every, 8)
    block = 64 if every == 64 else 16 if backward and every == 256 else 32
    return Launch(block, every, num_stages=2 if shared else 1)


def kernel_supports(device: torch.device, head_dim: int, slots: int, dtype: torch.dtype) -> bool:
    """Return whether `fused_window_attention` can compute these sizes on this device.

    Args:
        device: An NVIDIA GPU of compute capability 9.0 (H100) or newer with Triton, or the CPU in Triton's
            interpreter (environment variable TRITON_INTERPRET=1).
        head_dim: Channels per head.
        slots: Slots per window.
        dtype: Number format of queries, keys and values.
    """
    sizes = 1 <= head_dim <= MAX_HEAD_DIM and 1 <= slots <= MAX_SLOTS and dtype in DTYPES
    return sizes and runs_triton(device, (9, 0))


def kernel_wins(device: torch.device, head_dim: int, slots: int, dtype: torch.dtype) -> bool:
    """Return whether the kernel supports these sizes, and is faster than PyTorch's operators on GPUs.

    It was faster for all layers timed (`benchmarks/attention.py`), in bfloat16 with 32 channels per head. The
    arguments are those of `kernel_supports`.
    """
    return dtype.itemsize == 2 and head_dim == 32 and kernel_supports(device, head_dim, slots, dtype)


def fused_window_attention(
    qkv: Tensor,
    table: Tensor,
    index: Tensor,
    segment_ids: Tensor,
    coords: Tensor,
    side: int,
    num_heads: int,
    scale: float | None = None,
) -> Tensor:
    """Compute attention inside the segments of windows.

    Args:
        qkv: Queries, keys and values (B, L, 3*C), read as (3, heads, head_dim), contiguous.
        table: Relative position biases (side * side, heads). The row of a pair of tokens is
            (dy + R) * side + dx + R, with (dy, dx) = query minus key and R = (side - 1) / 2.
        index: Row-major token of every slot of every window, int32 (k, n), -1 for padding. Every token is in
            exactly one slot.
        segment_ids: IDs of slots, int32 (k, n). Tokens of a window attend to each other where IDs are equal.
        coords: (row, column) of every slot, int32 (1 or B, k, n, 2). The tokens of a window have different
            coordinates, and those of one segment differ by at most R.
        side: Offsets of the table per axis, odd.
        num_heads: Heads.
        scale: Scale of the products of queries and keys; None for head_dim ** -0.5.

    Returns:
        (B, L, C) in the dtype of `qkv`.

    Raises:
        ValueError: If sizes or number formats do not agree or are not supported (see `kernel_supports`).
    """
    _check(qkv, table, index, segment_ids, coords, side, num_heads)
    scale = (qkv.shape[-1] // (3 * num_heads)) ** -0.5 if scale is None else scale
    by_head = table.t().float().contiguous()  # neighbouring keys have neighbouring biases
    arguments = (qkv, by_head, index, segment_ids, coords, side, num_heads, scale)
    # A registered operator costs the host 0.2 ms per call more, which only compilers need.
    return _attend(*arguments)[0] if torch.compiler.is_compiling() else _Attention.apply(*arguments)


def _check(
    qkv: Tensor, table: Tensor, index: Tensor, segment_ids: Tensor, coords: Tensor, side: int, num_heads: int
) -> None:
    if qkv.dim() != 3 or qkv.shape[-1] % (3 * num_heads) or not qkv.is_contiguous():
        raise ValueError(f"qkv {tuple(qkv.shape)} must be contiguous, (B, L, 3 * {num_heads} * head_dim)")
    head_dim = qkv.shape[-1] // (3 * num_heads)
    if index.dim() != 2 or not kernel_supports(qkv.device, head_dim, index.shape[1], qkv.dtype):
        sizes = f"head_dim {head_dim}, index {tuple(index.shape)}, {qkv.dtype}"
        raise ValueError(f"the window attention kernel does not support {sizes} on {qkv.device}")
    if side % 2 == 0 or table.shape != (side * side, num_heads):
        raise ValueError(f"table {tuple(table.shape)} must be (side * side, heads), side {side} odd")
    if segment_ids.shape != index.shape or coords.shape[1:] != (*index.shape, 2):
        raise ValueError(
            f"index {tuple(index.shape)}, segment_ids {tuple(segment_ids.shape)} and coords "
            f"{tuple(coords.shape)} must be (k, n), (k, n) and (1 or B, k, n, 2)"
        )
    if coords.shape[0] not in (1, qkv.shape[0]):
        raise ValueError(f"coords are of {coords.shape[0]} images, qkv of {qkv.shape[0]}")
    for name, tensor in (("index", index), ("segment_ids", segment_ids), ("coords", coords)):
        if tensor.dtype != torch.int32 or not tensor.is_contiguous():
            raise ValueError(f"{name} must be int32 and contiguous, not {tensor.dtype}")


def _output(
    qkv: Tensor,
    by_head: Tensor,
    index: Tensor,
    segment_ids: Tensor,
    coords: Tensor,
    side: int,
    num_heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the output (B, L, C), and the logarithm to base 2 of the sum of weights (B, k, heads, n).

    `by_head` is the table as (heads, side * side), float32; the other arguments are those of
    `fused_window_attention`.
    """
    from mixmae_bench.backbones.layers import window_kernel_triton as kernels

    B, L, width = qkv.shape
    k, n = index.shape
    out = qkv.new_empty(B, L, width // 3)
    lse = qkv.new_empty(B, k, num_heads, n, dtype=torch.float32)
    launch = launch_of(n, qkv.itemsize, coords.shape[0] == 1, backward=False)
    programs, chunks, images = _grid(B, n, launch, num_heads * k)
    with torch.cuda.device_of(qkv):
        kernels.attend[programs, chunks](
            qkv,
            by_head,
            index,
            segment_ids,
            coords,
            out,
            lse,
            *(B, L, k, num_heads, n, side, scale, images),
            **_options(qkv, coords, num_heads, launch),
        )
    return out, lse


def _gradients(
    grad_out: Tensor,
    qkv: Tensor,
    by_head: Tensor,
    index: Tensor,
    segment_ids: Tensor,
    coords: Tensor,
    out: Tensor,
    lse: Tensor,
    side: int,
    num_heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `qkv` and `by_head`."""
    from mixmae_bench.backbones.layers import window_kernel_triton as kernels

    (B, L, _), (k, n) = qkv.shape, index.shape
    # A loop that adds to the table for every image must not be pipelined: loads would come too early.
    shared = coords.shape[0] == 1
    launch = launch_of(n, qkv.itemsize, shared, backward=True)
    whole = launch.queries >= n
    programs, chunks, images = _grid(B, n, launch, num_heads * k)
    copies = launch.queries // kernels.STEPS.value

    grad_out = grad_out.contiguous()
    grad_qkv = torch.empty_like(qkv)
    delta = torch.empty_like(lse)
    grad_table = lse.new_zeros(chunks, k, num_heads, -(-n // launch.queries) * copies, side * side)
    sizes = (B, L, k, num_heads, n, side, scale, images)
    options = _options(qkv, coords, num_heads, launch)
    with torch.cuda.device_of(qkv):
        kernels.backward_queries[programs, chunks](
            qkv,
            by_head,
            index,
            segment_ids,
            coords,
            out,
            lse,
            grad_out,
            delta,
            grad_qkv,
            grad_table,
            *sizes,
            WHOLE=whole,
            **options,
        )
        if not whole:
            options["QUERIES"], options["KEYS"] = options["KEYS"], options["QUERIES"]
            kernels.backward_keys[programs, chunks](
                qkv,
                by_head,
                index,
                segment_ids,
                coords,
                lse,
                grad_out,
                delta,
                grad_qkv,
                *sizes,
                **options,
            )
    return grad_qkv, grad_table.sum((0, 1, 3))


def _grid(B: int, n: int, launch: Launch, windows: int) -> tuple[int, int, int]:
    """Return the programs per chunk of images, the chunks, and the images per chunk."""
    programs = -(-n // launch.queries) * windows
    images = -(-B // min(B, -(-PROGRAMS // programs)))
    return programs, -(-B // images), images


def _options(qkv: Tensor, coords: Tensor, num_heads: int, launch: Launch) -> dict[str, object]:
    """Return the compile-time arguments of a kernel."""
    tf32 = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return dict(
        D=qkv.shape[-1] // (3 * num_heads),
        SHARED=coords.shape[0] == 1,
        QUERIES=launch.queries,
        KEYS=launch.keys,
        PRECISION="tf32" if tf32 and qkv.dtype == torch.float32 else "ieee",
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )


def _save(ctx: FunctionCtx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.side, ctx.num_heads, ctx.scale = inputs
    ctx.save_for_backward(*tensors, *output)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, *arguments: Tensor | float) -> Tensor:
        output = _output(*arguments)
        _save(ctx, arguments, output)
        return output[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        grads = _gradients(grad_out, *ctx.saved_tensors, ctx.side, ctx.num_heads, ctx.scale)
        return *grads, None, None, None, None, None, None


# The same as operators that the compiler does not look into.
_attend = torch.library.custom_op("mixmae_bench::window_attention", _output, mutates_args=())
_backward = torch.library.custom_op("mixmae_bench::window_attention_backward", _gradients, mutates_args=())


@_attend.register_fake
def _(
    qkv: Tensor,
    by_head: Tensor,
    index: Tensor,
    segment_ids: Tensor,
    coords: Tensor,
    side: int,
    num_heads: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    (B, L, width), (k, n) = qkv.shape, index.shape
    return qkv.new_empty(B, L, width // 3), qkv.new_empty(B, k, num_heads, n, dtype=torch.float32)


@_backward.register_fake
def _(grad_out: Tensor, qkv: Tensor, by_head: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(qkv), torch.empty_like(by_head)


def _differentiate(ctx: FunctionCtx, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, *ctx.saved_tensors, ctx.side, ctx.num_heads, ctx.scale)
    return *grads, None, None, None, None, None, None


_attend.register_autograd(_differentiate, setup_context=_save)
