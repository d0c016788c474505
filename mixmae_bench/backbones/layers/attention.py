"""Scaled dot-product attention with a learnt bias, with a faster implementation for training on CPUs.

PyTorch's fused CPU kernels do not support gradients of the bias. In training, `scaled_dot_product_attention`
falls back to separate operations on CPUs, with copies of queries, keys and values, and float32 for bfloat16.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mixmae_bench.backbones.layers.tracing import is_traced


def attend(qkv: Tensor, num_heads: int, bias: Tensor, scale: float | None = None) -> Tensor:
    """Compute scaled dot-product attention inside segments.

    Args:
        qkv: Queries, keys and values (B, k, n, 3*C), read as (3, heads, C / heads).
        num_heads: Heads.
        bias: Added to the logits, (1 or B, 1 or k, heads, n, n).
        scale: Scale of the products of queries and keys; None for head_dim ** -0.5.

    Returns:
        (B, k, n, C).
    """
    if is_traced():
        return _attend_plainly(qkv, num_heads, bias, scale)
    if qkv.device.type == "cpu" and bias.requires_grad and torch.is_grad_enabled():
        return _BiasedAttention.apply(qkv, num_heads, bias, scale)
    B, k, n, _ = qkv.shape
    bias = bias.to(qkv.dtype)
    if bias.shape[:2] == (1, 1):  # one bias for all segments: merge them into the batch, without copies
        query, key, value = qkv.reshape(B * k, n, 3, num_heads, -1).permute(2, 0, 3, 1, 4).unbind()
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[0], scale=scale)
        return out.transpose(1, 2).reshape(B, k, n, -1)
    query, key, value = qkv.view(B, k, n, 3, num_heads, -1).unbind(3)
    # Merge segments and heads into one axis, so that a bias of batch size 1 broadcasts over images.
    query, key, value = (t.transpose(2, 3).flatten(1, 2) for t in (query, key, value))
    bias = bias.expand(-1, k, -1, -1, -1).flatten(1, 2)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)
    return out.view(B, k, num_heads, n, -1).transpose(2, 3).reshape(B, k, n, -1)


def _attend_plainly(qkv: Tensor, num_heads: int, bias: Tensor, scale: float | None) -> Tensor:
    """Compute `attend` with basic operators and without using the batch size, for exporters.

    ONNX exporters treat a batch size that is used in Python as a constant, and they change the strides of
    fused attention.
    """
    query, key, value = qkv.unflatten(-1, (3, num_heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind()
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    weights = torch.softmax(query * scale @ key.transpose(-2, -1) + bias.to(qkv.dtype), -1)
    return (weights @ value).transpose(2, 3).flatten(3)


class _BiasedAttention(torch.autograd.Function):
    """Attention as batched matrix products in the dtype of `qkv`, with one copy in each direction."""

    @staticmethod
    def forward(ctx: FunctionCtx, qkv: Tensor, num_heads: int, bias: Tensor, scale: float | None) -> Tensor:
        B, k, n, width = qkv.shape
        dim = width // (3 * num_heads)
        ctx.scale = dim**-0.5 if scale is None else scale
        with torch.autocast("cpu", enabled=False):
            packed = qkv.view(B, k, n, 3, num_heads, dim).permute(3, 0, 1, 4, 2, 5).reshape(3, -1, n, dim)
            query, key, value = packed
            logits = qkv.new_empty(B, k, num_heads, n, n).copy_(bias).view(-1, n, n)
            logits.baddbmm_(query, key.mT, alpha=ctx.scale)
            weights = torch.softmax(logits, -1, out=logits)
            out = torch.bmm(weights, value)
        ctx.save_for_backward(packed, weights)
        ctx.sizes = (B, k, num_heads, n, dim), bias.shape
        return out.view(B, k, num_heads, n, dim).transpose(2, 3).reshape(B, k, n, num_heads * dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
        packed, weights = ctx.saved_tensors
        (B, k, num_heads, n, dim), bias_shape = ctx.sizes
        query, key, value = packed
        grad = grad.view(B, k, n, num_heads, dim).transpose(2, 3).reshape(-1, n, dim)

        of_logits = torch.bmm(grad, value.mT)
        of_packed = torch.empty_like(packed)
        torch.bmm(weights.mT, grad, out=of_packed[2])
        torch._softmax_backward_data(of_logits, weights, -1, weights.dtype, grad_input=of_logits)
        for own, other, product in ((0, key, of_logits), (1, query, of_logits.mT)):
            torch.baddbmm(of_packed[own], product, other, beta=0, alpha=ctx.scale, out=of_packed[own])
        of_qkv = of_packed.view(3, B, k, num_heads, n, dim).permute(1, 2, 4, 0, 3, 5).reshape(B, k, n, -1)
        of_bias = of_logits.view(B, k, num_heads, n, n)
        shared = [i for i in (0, 1) if bias_shape[i] == 1]
        if shared:
            of_bias = of_bias.sum(
                shared, keepdim=True, dtype=torch.promote_types(of_bias.dtype, torch.float32)
            )
        return of_qkv, None, of_bias, None
