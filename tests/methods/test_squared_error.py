"""The squared error of predicted patches and its gradient, against autograd on the definition."""

import pytest
import torch
from torch import Tensor

from mixmae_bench.methods.pixels import normalise_patches, patchify, squared_error

SIZE = 2
GENERATOR = torch.Generator().manual_seed(0)


def images(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, 4, 6, generator=GENERATOR, dtype=torch.float64).to(dtype)


def by_definition(pred: Tensor, pixels: Tensor, normalise: bool, weights: Tensor) -> Tensor:
    target = patchify(pixels, SIZE)
    errors = (pred - (normalise_patches(target) if normalise else target)).square().mean(-1)
    return (errors * weights).sum() / weights.expand_as(errors).sum()


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [1, 3, 8, 17])
def test_value_and_gradient_are_those_of_the_definition(count: int, shared: bool, normalise: bool) -> None:
    pixels = images(count)
    pred = torch.randn(count, 6, 12, generator=GENERATOR, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1 if shared else count, 6, generator=GENERATOR) < 0.5
    weights[0, 0] = True
    loss = squared_error(pred, pixels, SIZE, normalise, weights)
    expected = by_definition(pred, pixels, normalise, weights)
    torch.testing.assert_close(loss, expected)
    (own,), (right,) = (torch.autograd.grad(3 * value, pred) for value in (loss, expected))
    torch.testing.assert_close(own, right)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_errors_of_16_bit_predictions_are_summed_in_float32(dtype: torch.dtype) -> None:
    """With a loss scale of 2**16, gradients of float16 neither underflow nor overflow."""
    pixels = images(64, torch.float32)
    pred = torch.randn(64, 6, 12, generator=GENERATOR).to(dtype).requires_grad_()
    exact = pred.detach().double().requires_grad_()
    every = torch.ones(1, 6)
    loss = squared_error(pred, pixels, SIZE, True, every)
    expected = by_definition(exact, pixels.double(), True, every)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    (2**16 * loss).backward()
    (2**16 * expected).backward()
    assert pred.grad.dtype == dtype
    torch.testing.assert_close(pred.grad.double(), exact.grad, rtol=1e-2, atol=1e-2 * exact.grad.abs().max())


def test_a_prediction_is_not_changed() -> None:
    pred = torch.randn(2, 6, 12, generator=GENERATOR)
    before = pred.clone()
    squared_error(pred, images(2, torch.float32), SIZE, False, torch.ones(1, 6))
    assert torch.equal(pred, before)
