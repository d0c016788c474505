"""Cases of the fused residual addition and norm, run by `test_window_kernel` in another process."""

import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from mixmae_bench.backbones.layers import residual_norm as module
from mixmae_bench.backbones.layers.residual_norm import kernel_serves, residual_norm

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = {torch.float32: 5e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}
"""Largest error allowed, as a fraction of the largest value."""

HALF, SINGLE, BRAIN = torch.float16, torch.float32, torch.bfloat16


def make(shape: tuple[int, ...], tokens: torch.dtype, branch: torch.dtype | None) -> tuple:
    """Return random tokens, branch or None, and a norm with random weights."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(shape[-1], eps=1e-3).to(DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    values = (torch.randn(shape) + 0.5).to(DEVICE, tokens).requires_grad_()
    added = None if branch is None else torch.randn(shape).to(DEVICE, branch).requires_grad_()
    return values, added, norm


def gradients(outputs: tuple[Tensor, Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Return outputs, and gradients of a loss that weighs every value differently."""
    weights = [
        (torch.arange(out.numel(), dtype=torch.float64) * (number + 1)).sin().view(out.shape).to(out)
        for number, out in enumerate(outputs)
    ]
    return [*outputs, *torch.autograd.grad(outputs, inputs, weights)]


def by_definition(values: Tensor, added: Tensor | None, norm: nn.LayerNorm, factors: Tensor | float) -> list:
    """Return outputs and gradients in float64."""
    inputs = [values, *([] if added is None else [added]), norm.weight, norm.bias]
    inputs = [t.detach().double().requires_grad_() for t in inputs]
    x = inputs[0] * 1 if added is None else inputs[0] + inputs[1] * factors
    return gradients((x, F.layer_norm(x, x.shape[-1:], *inputs[-2:], norm.eps)), inputs)


def assert_right(
    values: Tensor, added: Tensor | None, norm: nn.LayerNorm, outputs: tuple, factor: float = 1
) -> None:
    assert "ResidualNorm" in outputs[1].grad_fn.name()
    inputs = [t for t in (values, added) if t is not None]
    ours = gradients(outputs, [*inputs, norm.weight, norm.bias])
    expected = by_definition(values, added, norm, 1.0)
    worst = max([t.dtype for t in (*inputs, outputs[1])], key=TOLERANCE.get)
    for name, own, right in zip(("x", "normed", *"grads"), ours, expected, strict=False):
        error = (own.double() - right).abs().max() / right.abs().max()
        assert error < factor * TOLERANCE[worst], name
    assert [t.dtype for t in ours[2:]] == [t.dtype for t in (*inputs, norm.weight, norm.bias)]


@pytest.mark.parametrize(
    ("shape", "tokens", "branch"),
    [
        ((2, 9, 32), SINGLE, SINGLE),
        ((3, 5, 7, 96), SINGLE, None),
        ((1, 37, 130), SINGLE, HALF),
        ((2, 11, 128), HALF, HALF),
        ((2, 3, 2816), SINGLE, SINGLE),
        ((5, 3), SINGLE, SINGLE),
    ],
)
def test_outputs_and_gradients_are_those_of_the_definition(
    shape: tuple[int, ...], tokens: torch.dtype, branch: torch.dtype | None
) -> None:
    values, added, norm = make(shape, tokens, branch)
    assert_right(values, added, norm, residual_norm(values, added, norm))


@pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a GPU")
@pytest.mark.parametrize("shape", [(64, 3136, 128), (64, 196, 512), (64, 784, 192), (8, 49, 2816)])
@pytest.mark.parametrize("branch", [None, SINGLE, BRAIN])
def test_gpu_sizes_of_networks(shape: tuple[int, ...], branch: torch.dtype | None) -> None:
    values, added, norm = make(shape, SINGLE, branch)
    outputs = residual_norm(values, added, norm)
    assert_right(values, added, norm, outputs, factor=10)  # sums of 200,000 values of both signs


def test_the_norm_has_the_format_of_autocast_and_the_sum_that_of_the_tokens() -> None:
    values, added, norm = make((2, 9, 32), SINGLE, SINGLE)
    dtype = HALF if DEVICE.type == "cuda" else BRAIN
    with torch.autocast(DEVICE.type, dtype):
        outputs = residual_norm(values, added, norm)
    assert [t.dtype for t in outputs] == [SINGLE, dtype]
    if dtype == HALF:  # the interpreter rounds bfloat16 differently
        assert_right(values, added, norm, outputs)


def test_the_branch_is_dropped_for_whole_images_and_scaled() -> None:
    values, added, norm = make((6, 4, 32), SINGLE, SINGLE)
    drop_path = DropPath(0.5).train()
    torch.manual_seed(3)
    outputs = residual_norm(values, added, norm, drop_path)
    torch.manual_seed(3)
    factors = added.new_empty(6).bernoulli_(0.5) * 2
    assert 0 < factors.count_nonzero() < 6
    ours = gradients(outputs, [values, added, norm.weight, norm.bias])
    for own, right in zip(ours, by_definition(values, added, norm, factors[:, None, None]), strict=True):
        assert (own - right).abs().max() < 5e-6 * right.abs().max()
    drop_path.eval()
    assert_right(values, added, norm, residual_norm(values, added, norm, drop_path))


@pytest.mark.parametrize("used", [0, 1])
def test_an_unused_output_has_no_gradient(used: int) -> None:
    values, added, norm = make((2, 9, 32), SINGLE, SINGLE)
    own = torch.autograd.grad(residual_norm(values, added, norm)[used].square().sum(), values)[0]
    x = values.double() + added
    right = (x, F.layer_norm(x, (32,), norm.weight.double(), norm.bias.double(), norm.eps))[used]
    (right,) = torch.autograd.grad(right.square().sum(), values)
    assert (own - right).abs().max() < 1e-5 * right.abs().max()


def test_programs_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRAMS", 2)
    monkeypatch.setattr(module, "ELEMENTS", 64)
    values, added, norm = make((3, 5, 32), SINGLE, SINGLE)
    assert_right(values, added, norm, residual_norm(values, added, norm))


def test_graphs_and_other_norms_use_the_operators_of_pytorch() -> None:
    values, _, norm = make((2, 9, 32), SINGLE, None)
    assert kernel_serves(values, norm)
    assert not kernel_serves(values, nn.LayerNorm((9, 32)).to(DEVICE))
    assert not kernel_serves(values, nn.LayerNorm(32, bias=False).to(DEVICE))
    assert not kernel_serves(values.double(), norm)
    assert not kernel_serves(values[:0], norm)
