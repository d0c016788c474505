"""Triton kernels of residual addition and layer norm, launched by `residual_norm`. Requires Triton.

Arguments of both kernels:
    x, grad_x: (M, C), the tokens with the branch added, and their gradient.
    branch, grad_branch: (M, C), or None without a branch.
    factors: Factor of the branch for every image, (M / per_image,), or None.
    statistics: Mean, and reciprocal standard deviation, of every row of x, (2, M), float32.
    ROWS, CHANNELS: Rows of a block; C rounded up to a power of two.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["M", "per_image", "eps"])
def add_and_normalise(
    tokens,  # (M, C)
    branch,
    factors,
    weight,
    bias,
    x,  # not written without a branch: then x is tokens
    normed,  # (M, C)
    statistics,
    M,
    C,
    per_image,
    eps,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute x = tokens + factors * branch, and its layer norm."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, CHANNELS)
    own = (rows < M)[:, None] & (cols < C)[None, :]
    places = rows[:, None] * C + cols[None, :]
    values = tl.load(tokens + places, mask=own, other=0.0).to(tl.float32)
    if branch is not None:
        added = tl.load(branch + places, mask=own, other=0.0).to(tl.float32)
        if factors is not None:
            added *= tl.load(factors + rows // per_image, mask=rows < M, other=0.0).to(tl.float32)[:, None]
        rounded = (values + added).to(x.dtype.element_ty)
        tl.store(x + places, rounded, mask=own)
        values = rounded.to(tl.float32)
    centre = tl.sum(values, 1) / C
    values = tl.where(own, values - centre[:, None], 0.0)
    scale = 1 / tl.sqrt(tl.sum(values * values, 1) / C + eps)
    factor = tl.load(weight + cols, mask=cols < C, other=0.0).to(tl.float32)
    shift = tl.load(bias + cols, mask=cols < C, other=0.0).to(tl.float32)
    result = values * scale[:, None] * factor[None, :] + shift[None, :]
    tl.store(normed + places, result.to(normed.dtype.element_ty), mask=own)
    tl.store(statistics + rows, centre, mask=rows < M)
    tl.store(statistics + M + rows, scale, mask=rows < M)


@triton.jit(do_not_specialize=["M", "per_image"])
def differentiate(
    grad_normed,  # (M, C)
    grad_out,  # (M, C), the gradient of x other than by its norm, or None
    x,
    weight,
    statistics,
    factors,
    grad_x,
    grad_branch,
    parts,  # (2, programs, C), float32: gradients of weight and bias, the part of every program
    M,
    C,
    per_image,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Compute the gradients of tokens, branch, weight and bias. A program takes every n-th block of rows."""
    cols = tl.arange(0, CHANNELS)
    factor = tl.load(weight + cols, mask=cols < C, other=0.0).to(tl.float32)
    of_weight = tl.zeros([ROWS, CHANNELS], tl.float32)
    of_bias = tl.zeros([ROWS, CHANNELS], tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(M, ROWS), tl.num_programs(0)):
        rows = block * ROWS + tl.arange(0, ROWS).to(tl.int64)
        own = (rows < M)[:, None] & (cols < C)[None, :]
        places = rows[:, None] * C + cols[None, :]
        centre = tl.load(statistics + rows, mask=rows < M, other=0.0)
        scale = tl.load(statistics + M + rows, mask=rows < M, other=0.0)
        values = tl.load(x + places, mask=own, other=0.0).to(tl.float32)
        grad = tl.load(grad_normed + places, mask=own, other=0.0).to(tl.float32)
        values = tl.where(own, (values - centre[:, None]) * scale[:, None], 0.0)
        of_weight += grad * values
        of_bias += grad
        grad *= factor[None, :]
        along = tl.sum(grad * values, 1) / C
        result = (grad - tl.sum(grad, 1)[:, None] / C - values * along[:, None]) * scale[:, None]
        if grad_out is not None:
            result += tl.load(grad_out + places, mask=own, other=0.0).to(tl.float32)
        tl.store(grad_x + places, result.to(grad_x.dtype.element_ty), mask=own)
        if grad_branch is not None:
            if factors is not None:
                result *= tl.load(factors + rows // per_image, mask=rows < M, other=0.0).to(tl.float32)[
                    :, None
                ]
            tl.store(grad_branch + places, result.to(grad_branch.dtype.element_ty), mask=own)
    own_part = parts + tl.program_id(0) * C + cols
    tl.store(own_part, tl.sum(of_weight, 0), mask=cols < C)
    tl.store(own_part + tl.num_programs(0) * C, tl.sum(of_bias, 0), mask=cols < C)
