"""Cases of the fused window attention, run by `test_window_kernel` in another process.

Triton decides at its import whether it interprets kernels: they run on a GPU where there is one, else in the
interpreter.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mixmae_bench.backbones.layers import window_kernel
from mixmae_bench.backbones.layers.window_kernel import fused_window_attention, kernel_supports

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = {torch.float32: 2e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}
"""Largest error allowed, as a fraction of the largest value."""

gpu = pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a GPU")


@dataclass
class Case:
    """Arguments of `fused_window_attention`."""

    qkv: Tensor
    table: Tensor
    index: Tensor
    segment_ids: Tensor
    coords: Tensor
    side: int
    num_heads: int
    scale: float | None = None

    def arguments(self) -> tuple:
        return tuple(vars(self).values())


def make(
    n: int,
    head_dim: int = 32,
    dtype: torch.dtype = torch.float32,
    images: int = 2,
    windows: int = 2,
    heads: int = 1,
    segments: int = 2,
    padding: int = 0,
    own_coords: bool = False,
    scale: float | None = None,
) -> Case:
    """Return a random case: tokens in random order, windows with `padding` empty slots, random segments."""
    generator = torch.Generator().manual_seed(n + head_dim)
    width = math.isqrt(n - 1) + 1
    tokens = windows * (n - padding)
    index = torch.full((windows, n), -1)
    for slots, own in zip(index, torch.randperm(tokens, generator=generator).view(windows, -1), strict=True):
        slots[torch.randperm(n, generator=generator)[padding:].sort().values] = own
    spread = 2 if own_coords else 1  # a map from which tokens were dropped
    coords = torch.stack(
        [
            torch.randperm((spread * width) ** 2, generator=generator)[:n] if own_coords else torch.arange(n)
            for _ in range(windows * (images if own_coords else 1))
        ]
    ).view(-1, windows, n)
    coords = torch.stack([coords // (spread * width), coords % (spread * width)], -1)
    coords[(index < 0).expand(coords.shape[:3])] = 10**6  # never read
    side = 2 * spread * width - 1
    random = dict(generator=generator, dtype=torch.float32)
    return Case(
        torch.randn(images, tokens, 3 * heads * head_dim, **random).to(DEVICE, dtype),
        torch.randn(side * side, heads, **random).to(DEVICE),
        index.int().to(DEVICE),
        torch.randint(segments, (windows, n), generator=generator).int().to(DEVICE),
        coords.int().contiguous().to(DEVICE),
        side,
        heads,
        scale,
    )


def by_definition(qkv: Tensor, case: Case, table: Tensor) -> Tensor:
    """Return the attention of every window, with dense logits."""
    B, L, width = qkv.shape
    head_dim = width // (3 * case.num_heads)
    scale = head_dim**-0.5 if case.scale is None else case.scale
    radius = (case.side - 1) // 2
    out = qkv.new_zeros(B, L, width // 3)
    for window, slots in enumerate(case.index.long()):
        used = slots >= 0
        query, key, value = qkv[:, slots[used]].unflatten(-1, (3, case.num_heads, -1)).permute(2, 0, 3, 1, 4)
        ids, places = case.segment_ids[window, used], case.coords[:, window, used].long()
        dy, dx = (places[:, :, None] - places[:, None] + radius).unbind(-1)
        logits = query @ key.mT * scale + table[dy * case.side + dx].permute(0, 3, 1, 2)
        weights = logits.masked_fill(ids[:, None] != ids, -math.inf).softmax(-1)
        out[:, slots[used]] = (weights @ value).transpose(1, 2).flatten(2)
    return out


def outcome(function: object, qkv: Tensor, table: Tensor) -> list[Tensor]:
    """Return the output and the gradients of a loss that weighs every value differently."""
    qkv, table = qkv.detach().clone().requires_grad_(), table.detach().clone().requires_grad_()
    out = function(qkv, table)
    out.backward(torch.linspace(-1, 1, out.numel(), dtype=torch.float64).sin().view(out.shape).to(out))
    return [out.detach(), qkv.grad, table.grad]


def fused(case: Case) -> list[Tensor]:
    return outcome(
        lambda qkv, table: fused_window_attention(qkv, table, *case.arguments()[2:]), case.qkv, case.table
    )


def expected(case: Case) -> list[Tensor]:
    return outcome(lambda qkv, table: by_definition(qkv, case, table), case.qkv.double(), case.table.double())


def assert_right(case: Case) -> None:
    ours = fused(case)
    assert [part.dtype for part in ours] == [case.qkv.dtype, case.qkv.dtype, case.table.dtype]
    for name, own, right in zip(("out", "qkv", "table"), ours, expected(case), strict=True):
        error = (own.double() - right).abs().max() / right.abs().max().clamp(min=1)  # 0 with one key
        assert error < TOLERANCE[case.qkv.dtype], name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("n", "head_dim", "options"),
    [
        (1, 32, dict(segments=1)),
        (9, 64, dict(heads=3)),
        (35, 32, dict(own_coords=True, padding=3)),
        (49, 32, dict(padding=5, images=3)),
        (49, 64, dict(segments=1, scale=0.3)),
        (49, 32, dict(segments=10**6, windows=1)),
        (64, 32, dict(own_coords=True, segments=1)),
        (100, 32, dict(own_coords=True, padding=9, windows=1)),
        (100, 64, dict(windows=1)),
        (196, 32, dict(windows=1, heads=2, images=1, padding=7)),
        (256, 32, dict(windows=1, images=1, segments=4)),
    ],
)
def test_output_and_gradients_are_those_of_the_definition(
    n: int, head_dim: int, options: dict, dtype: torch.dtype
) -> None:
    assert_right(make(n, head_dim, dtype, **options))
