"""Attention with a learnt bias, in training and without gradients, against its definition in float64."""

import pytest
import torch
from torch import Tensor

from mixmae_bench.backbones.layers.attention import attend

SIZES = dict(images=2, segments=3, tokens=5, heads=4, dim=8)


def by_definition(qkv: Tensor, heads: int, bias: Tensor) -> Tensor:
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)
    logits = query @ key.mT / query.shape[-1] ** 0.5 + bias
    return (logits.softmax(-1) @ value).transpose(2, 3).flatten(3)


def make(dtype: torch.dtype, of_images: int = 1, of_segments: int = 3) -> tuple[Tensor, int, Tensor]:
    generator = torch.Generator().manual_seed(0)
    n, heads = SIZES["tokens"], SIZES["heads"]
    qkv = torch.randn(
        SIZES["images"], SIZES["segments"], n, 3 * heads * SIZES["dim"], generator=generator, dtype=dtype
    )
    bias = torch.randn(of_images, of_segments, heads, n, n, generator=generator, dtype=torch.float64)
    return qkv, heads, bias


def outcome(function: object, qkv: Tensor, heads: int, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output and the gradients of a loss that weighs every value differently."""
    qkv, bias = qkv.clone().requires_grad_(), bias.clone().requires_grad_()
    out = function(qkv, heads, bias)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    (out * weights).sum().backward()
    return out.detach(), qkv.grad, bias.grad


@pytest.mark.parametrize("of_images", [1, 2])
@pytest.mark.parametrize("of_segments", [1, 3])
def test_outputs_and_gradients_are_those_of_the_definition(of_images: int, of_segments: int) -> None:
    args = make(torch.float64, of_images, of_segments)
    for ours, expected in zip(outcome(attend, *args), outcome(by_definition, *args), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("of_images", [1, 2])
@pytest.mark.parametrize("of_segments", [1, 3])
def test_without_gradients_the_output_is_the_same(of_images: int, of_segments: int) -> None:
    args = make(torch.float64, of_images, of_segments)
    torch.testing.assert_close(attend(*args), by_definition(*args), rtol=1e-12, atol=1e-12)


def test_in_bfloat16_errors_are_those_of_rounding() -> None:
    qkv, heads, bias = make(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        ours = outcome(attend, qkv, heads, bias.float())
    exact = outcome(by_definition, qkv.double(), heads, bias)
    for own, expected in zip(ours, exact, strict=True):
        assert (own - expected).abs().max() < 0.02 * expected.abs().max()
    assert [own.dtype for own in ours] == [torch.bfloat16, torch.bfloat16, torch.float32]
