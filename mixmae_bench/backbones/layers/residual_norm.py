"""Addition of a residual branch and the layer norm after it, as one kernel on GPUs.

Under autocast, PyTorch's operators add in float32, normalise in float32, and round the result for the next
linear layer: four kernels, which read and write the tokens five times. The kernel reads them once and writes
tokens and rounded norm once. In the backward pass it also adds the gradient of the residual connection.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from mixmae_bench.backbones.layers.formats import compute_dtype
from mixmae_bench.backbones.layers.triton_device import runs_triton

MAX_CHANNELS = 8192
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
ELEMENTS = 2048
"""Values of a block: 16 per thread of 4 warps."""
PROGRAMS = 528
"""Programs of the backward pass: 4 per multiprocessor of an H100. Each writes a part of two gradients."""


def residual_norm(
    tokens: Tensor, branch: Tensor | None, norm: nn.LayerNorm, drop_path: nn.Module | None = None
) -> tuple[Tensor, Tensor]:
    """Add a branch to tokens, and normalise the sum.

    Args:
        tokens: Tokens (B, ..., C).
        branch: Output of the branch (B, ..., C), or None to add nothing.
        norm: The layer norm.
        drop_path: timm's `DropPath` of the branch, or another module to apply to it; None for none.

    Returns:
        The sum (B, ..., C), and its norm (B, ..., C). In the kernel, the norm has the format of autocast if
        this is active; PyTorch's operators return float32 then, which the next linear layer rounds.
    """
    if not kernel_serves(tokens, norm):
        if branch is not None:
            tokens = tokens + (branch if drop_path is None else drop_path(branch))
        return tokens, norm(tokens)
    factors = None
    if branch is not None and drop_path is not None:
        branch, factors = _factors(branch, drop_path)
    return _ResidualNorm.apply(tokens, branch, factors, norm.weight, norm.bias, norm.eps)


def kernel_serves(tokens: Tensor, norm: nn.LayerNorm) -> bool:
    """Return whether the kernel is used: on NVIDIA GPUs with Triton, outside compiled and exported graphs.

    The compiler makes fused kernels of PyTorch's operators itself.
    """
    return (
        tokens.numel() > 0
        and tokens.dtype in DTYPES
        and tokens.shape[-1] <= MAX_CHANNELS
        and norm.normalized_shape == tokens.shape[-1:]
        and norm.bias is not None
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and runs_triton(tokens.device, (8, 0))
    )


def _factors(branch: Tensor, drop_path: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Return the branch and its factor per image (B,), drawn as `DropPath` draws it, or None for 1."""
    rate = getattr(drop_path, "drop_prob", None)
    if rate is None:  # not a DropPath
        return drop_path(branch), None
    if not rate or not drop_path.training:
        return branch, None
    factors = branch.new_empty(len(branch)).bernoulli_(1 - rate)
    return branch, factors.div_(1 - rate) if drop_path.scale_by_keep and rate < 1 else factors


class _ResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        tokens: Tensor,
        branch: Tensor | None,
        factors: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        from mixmae_bench.backbones.layers import residual_norm_triton as kernels

        tokens = tokens.contiguous()
        C = tokens.shape[-1]
        M = tokens.numel() // C
        normed = torch.empty_like(tokens, dtype=compute_dtype(tokens))
        statistics = tokens.new_empty(2, M, dtype=torch.float32)
        x = tokens
        if branch is not None:
            branch = branch.contiguous()
            x = torch.empty_like(tokens, dtype=torch.promote_types(tokens.dtype, branch.dtype))
        options = _options(C)
        ctx.per_image = M // len(tokens)
        with torch.cuda.device_of(tokens):
            kernels.add_and_normalise[(-(-M // options["ROWS"]),)](
                tokens,
                branch,
                factors,
                weight,
                bias,
                x,
                normed,
                statistics,
                M,
                C,
                ctx.per_image,
                eps,
                **options,
            )
        ctx.save_for_backward(x, factors, weight, statistics)
        ctx.formats = tokens.dtype, None if branch is None else branch.dtype, bias.dtype
        ctx.set_materialize_grads(False)
        return x, normed

    @staticmethod
    @once_differentiable
    def backward(
        ctx: FunctionCtx, grad_out: Tensor | None, grad_normed: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        from mixmae_bench.backbones.layers import residual_norm_triton as kernels

        x, factors, weight, statistics = ctx.saved_tensors
        of_tokens, of_branch, of_bias = ctx.formats
        if grad_normed is None:
            grad_normed = torch.zeros_like(x)
        grad_out = None if grad_out is None else grad_out.contiguous()
        C = x.shape[-1]
        M = x.numel() // C
        grad_x = torch.empty_like(x, dtype=of_tokens)
        grad_branch = None
        if of_branch is not None:
            shared = of_branch == of_tokens and factors is None
            grad_branch = grad_x if shared else torch.empty_like(x, dtype=of_branch)
        options = _options(C)
        programs = min(-(-M // options["ROWS"]), PROGRAMS)
        parts = statistics.new_empty(2, programs, C)
        with torch.cuda.device_of(x):
            kernels.differentiate[(programs,)](
                grad_normed.contiguous(),
                grad_out,
                x,
                weight,
                statistics,
                factors,
                grad_x,
                None if grad_branch is grad_x else grad_branch,
                parts,
                M,
                C,
                ctx.per_image,
                **options,
            )
        grad_weight, grad_bias = parts.sum(1)
        return grad_x, grad_branch, None, grad_weight.to(weight.dtype), grad_bias.to(of_bias), None


def _options(channels: int) -> dict[str, int]:
    width = 1 << (channels - 1).bit_length()
    return dict(ROWS=max(1, ELEMENTS // width), CHANNELS=width, num_warps=4 if width <= ELEMENTS else 8)
