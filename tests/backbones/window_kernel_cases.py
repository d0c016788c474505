"""Cases of the fused window attention, run by `test_window_kernel` in another process.

Triton decides at its import whether it interprets kernels: they run on a GPU where there is one, else in the
interpreter.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from mixmae_bench.backbones.layers import window_kernel
from mixmae_bench.backbones.layers.forms import attention_form
from mixmae_bench.backbones.layers.window_kernel import fused_window_attention, kernel_supports, kernel_wins
from mixmae_bench.engine.precision import tf32
from mixmae_bench.registry import MODELS

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = {torch.float32: 5e-6, torch.float16: 3e-3, torch.bfloat16: 2e-2}
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


HALF, SINGLE = torch.float16, torch.float32


@pytest.mark.parametrize(
    ("n", "head_dim", "dtype", "options"),
    [
        (1, 32, SINGLE, dict(segments=1)),
        (9, 64, HALF, dict(heads=3, windows=1)),
        (9, 8, SINGLE, dict(heads=2)),
        (16, 20, SINGLE, dict(own_coords=True, heads=2)),
        (16, 48, HALF, dict(windows=1)),
        (35, 32, SINGLE, dict(own_coords=True, padding=3)),
        (49, 32, SINGLE, dict(padding=5, heads=2)),
        (49, 64, HALF, dict(segments=1, scale=0.3)),
        (49, 32, SINGLE, dict(segments=10**6, windows=1)),
        (64, 32, HALF, dict(own_coords=True, segments=1)),
        (64, 64, SINGLE, dict(own_coords=True, windows=1)),
        (100, 32, SINGLE, dict(own_coords=True, padding=9, windows=1)),
        (196, 32, SINGLE, dict(windows=1, images=1, padding=7)),
    ],
)
def test_output_and_gradients_are_those_of_the_definition(
    n: int, head_dim: int, dtype: torch.dtype, options: dict
) -> None:
    assert_right(make(n, head_dim, dtype, **options))


@gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("own_coords", [False, True])
@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize("n", [16, 49, 64, 65, 100, 128, 144, 196, 256])
def test_gpu_many_images_and_heads(n: int, head_dim: int, own_coords: bool, dtype: torch.dtype) -> None:
    assert_right(
        make(n, head_dim, dtype, images=37, windows=5, heads=6, padding=n // 9, own_coords=own_coords)
    )


@gpu
def test_gpu_tf32_is_used_only_where_torch_allows_it() -> None:
    case = make(196, heads=4)
    exact = fused(case)
    with tf32():
        rounded = fused(case)
    for own, right in zip(rounded, exact, strict=True):
        assert 0 < (own - right).abs().max() < 5e-3 * right.abs().max()


def test_the_last_chunk_of_images_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_kernel, "PROGRAMS", 2)
    for own_coords in (False, True):
        assert_right(make(9, images=3, windows=1, own_coords=own_coords))  # 2 and 1


@pytest.mark.parametrize("own_coords", [False, True])
def test_two_runs_give_equal_bits(own_coords: bool) -> None:
    case = make(49, images=2 if DEVICE.type == "cpu" else 64, own_coords=own_coords)
    for first, second in zip(fused(case), fused(case), strict=True):
        assert torch.equal(first, second)


def test_gradients_of_any_layout_are_accepted() -> None:
    case = make(9)
    case.qkv.requires_grad_()
    rest = case.arguments()[1:]
    (expanded,) = torch.autograd.grad(fused_window_attention(case.qkv, *rest).sum(), case.qkv)
    out = fused_window_attention(case.qkv, *rest)
    (right,) = torch.autograd.grad(out, case.qkv, torch.ones_like(out))
    assert torch.equal(expanded, right)


def test_the_operator_is_registered_correctly() -> None:
    case = make(9, windows=1)
    by_head = case.table.t().contiguous().requires_grad_()
    arguments = (case.qkv.requires_grad_(), by_head, *case.arguments()[2:-1], 0.2)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.mixmae_bench.window_attention, arguments, test_utils=checks)


def test_it_is_compiled_as_part_of_one_graph() -> None:
    case = make(9, windows=1)
    rest = case.arguments()[2:]

    def layer(qkv: Tensor, table: Tensor) -> Tensor:
        return fused_window_attention(qkv * 2, table, *rest) + 1

    backend = "aot_eager" if DEVICE.type == "cpu" else "inductor"
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    for own, right in zip(*(outcome(f, case.qkv, case.table) for f in (compiled, layer)), strict=True):
        torch.testing.assert_close(own, right)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(qkv=torch.zeros(2, 9, 3 * 72)), "does not support head_dim 72"),
        (dict(qkv=torch.zeros(2, 9, 3 * 32, dtype=torch.float64)), "does not support .*float64"),
        (dict(qkv=torch.zeros(9, 2, 3 * 32).transpose(0, 1)), "contiguous"),
        (dict(index=torch.zeros(1, 257, dtype=torch.int32)), r"does not support .*\(1, 257\)"),
        (dict(index=torch.arange(9).view(1, 9)), "index must be int32"),
        (dict(coords=torch.zeros(1, 1, 9, 2)), "coords must be int32"),
        (dict(coords=torch.zeros(3, 1, 9, 2, dtype=torch.int32)), "coords are of 3 images, qkv of 2"),
        (dict(segment_ids=torch.zeros(1, 8, dtype=torch.int32)), r"segment_ids \(1, 8\)"),
        (dict(side=4), "side 4 odd"),
        (dict(table=torch.zeros(25, 2)), r"table \(25, 2\)"),
    ],
)
def test_unsupported_arguments_are_errors(change: dict[str, Tensor | int], reason: str) -> None:
    case = make(9, windows=1)
    for name, value in change.items():
        setattr(case, name, value.to(DEVICE) if isinstance(value, Tensor) else value)
    with pytest.raises(ValueError, match=reason):
        fused_window_attention(*case.arguments())


@pytest.mark.parametrize(
    ("head_dim", "slots", "dtype", "supported"),
    [
        (32, 1, torch.float32, True),
        (64, 256, torch.bfloat16, True),
        (8, 49, torch.float32, True),
        (72, 49, torch.float32, False),
        (32, 257, torch.float32, False),
        (32, 0, torch.float32, False),
        (32, 49, torch.float64, False),
    ],
)
def test_supported_sizes(head_dim: int, slots: int, dtype: torch.dtype, supported: bool) -> None:
    assert kernel_supports(DEVICE, head_dim, slots, dtype) is supported


SWIN = dict(embed_dim=32, depths=(2, 1), num_heads=(1, 2))
DECODER = dict(dim=16, depth=1, num_heads=2)
METHODS = {
    "mixed images": dict(
        type="mixmae_bench.MixMAE",
        backbone=dict(
            type="mixmae_bench.MixMAESwin", arch=dict(SWIN, depths=(1, 1), window_size=(2, 2)), img_size=16
        ),
        decoder=DECODER,
    ),
    "shifted windows at a border": dict(
        type="mixmae_bench.SimMIM",
        backbone=dict(type="mixmae_bench.Swin", arch=SWIN, window_size=4, img_size=24),
        mask_patch_size=8,
    ),
    "packed images": dict(
        type="mixmae_bench.UMMAE",
        backbone=dict(type="mixmae_bench.UMSwin", arch=SWIN, window_size=4, img_size=32),
        mask_patch_size=4,
        decoder=DECODER,
    ),
    "groups of visible tokens": dict(
        type="mixmae_bench.GreenMIM",
        backbone=dict(type="mixmae_bench.Swin", arch=SWIN, window_size=3, img_size=32),
        decoder=DECODER,
    ),
}


def gradients(method: dict, form: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    np.random.seed(0)
    model = MODELS.build(method).to(DEVICE)
    images = torch.randn(2, 3, *(4 * side for side in model.backbone.grid)).to(DEVICE)
    with attention_form(form):
        model.loss(images, model.draw_mask(images)).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_learns_with_the_kernel_as_with_the_plain_form(method: dict) -> None:
    plain, kernel = (gradients(method, form) for form in ("plain", "kernel"))
    assert plain.keys() == kernel.keys()
    for name, expected in plain.items():
        # A bias that has no effect has gradients of rounding errors.
        torch.testing.assert_close(
            kernel[name], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()) + 1e-7, msg=name
        )


def test_it_is_chosen_where_it_was_timed_only() -> None:
    timed = [
        (head_dim, dtype)
        for head_dim in (16, 32, 64)
        for dtype in TOLERANCE
        if kernel_wins(DEVICE, head_dim, 196, dtype)
    ]
    assert timed == [(32, torch.float16), (32, torch.bfloat16)]
