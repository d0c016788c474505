"""Window attention on maps of tokens with `DenseWindows`: PyTorch's attention, or the fused kernel."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from mixmae_bench.backbones.layers import window_kernel
from mixmae_bench.backbones.layers.dense_windows import DenseWindows, Order
from mixmae_bench.backbones.layers.forms import VARIABLE
from mixmae_bench.errors import UserError


def window_attention(
    qkv: Tensor, num_heads: int, table: Tensor, windows: DenseWindows, scale: float | None = None
) -> Tensor:
    """Compute attention inside windows, between slots of equal segment IDs.

    Args:
        qkv: Queries, keys and values (B, L, 3*C) in row-major order, read as (3, heads, C / heads).
        num_heads: Heads.
        table: Biases by relative coordinates (side * side, heads), see `DenseWindows`.
        windows: The windows.
        scale: Scale of the products of queries and keys; None for head_dim ** -0.5.

    Returns:
        (B, L, C).

    Raises:
        UserError: If the fused kernel is forced and does not support the device or the sizes.
    """
    if windows.fused:
        return _attend_with_kernel(qkv, num_heads, table, windows, scale)
    B, _, width = qkv.shape
    k, n = windows.index.shape
    query, key, value = _GatherSlots.apply(qkv, windows.order)
    # The fused kernels read (batch, tokens, heads, dim), so that no copy is needed for either arrangement.
    shape = (B * k, n, num_heads, -1) if windows.in_batch else (B, n, k * num_heads, width // (3 * num_heads))
    query, key, value = (t.view(shape).transpose(1, 2) for t in (query, key, value))
    bias = windows.bias(table, query.dtype)
    bias = bias if windows.in_batch else bias.flatten(0, 1)[None]
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)
    return _GatherTokens.apply(out.transpose(1, 2).reshape(B, k * n, -1), windows.order)


def _attend_with_kernel(
    qkv: Tensor, num_heads: int, table: Tensor, windows: DenseWindows, scale: float | None
) -> Tensor:
    dim, slots = qkv.shape[-1] // (3 * num_heads), windows.index.shape[1]
    if not window_kernel.kernel_supports(qkv.device, dim, slots, qkv.dtype):
        raise UserError(
            f"the attention kernel does not support {qkv.dtype} on {qkv.device.type} with {dim} channels per "
            f"head and windows of {slots} tokens; set {VARIABLE}=plain"
        )
    return window_kernel.fused_window_attention(
        qkv,
        table,
        windows.index,
        windows.segment_ids,
        windows.coords,
        windows.side,
        num_heads,
        scale,
    )


class _GatherSlots(torch.autograd.Function):
    """Gather tokens (B, L, 3*C) as queries, keys and values of slots, three times (B, k * n, C)."""

    @staticmethod
    def forward(ctx: FunctionCtx, qkv: Tensor, order: Order) -> tuple[Tensor, Tensor, Tensor]:
        ctx.order = order
        B, L, width = qkv.shape
        parts = qkv.view(B, L, 3, width // 3).permute(2, 0, 1, 3)
        return parts.index_select(2, order.tokens).unbind()

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        # Every token is in one slot. Gradients of padding are not read.
        return torch.cat([grad.index_select(1, ctx.order.place) for grad in grads], dim=-1), None


class _GatherTokens(torch.autograd.Function):
    """Gather slots (B, k * n, C) as tokens (B, L, C). Padding gets gradients of 0."""

    @staticmethod
    def forward(ctx: FunctionCtx, slots: Tensor, order: Order) -> Tensor:
        ctx.order = order
        return slots.index_select(1, order.place)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.index_select(1, ctx.order.tokens)
        return grad if ctx.order.padding is None else grad.masked_fill_(ctx.order.padding, 0), None
