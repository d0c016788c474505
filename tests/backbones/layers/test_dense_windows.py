"""The form of window attention for GPUs, forced on CPUs, against the segments in float64."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.backbones.layers.dense_attention import _GatherTokens
from mixmae_bench.backbones.layers.dense_bias import inverse
from mixmae_bench.backbones.layers.dense_windows import geometry
from mixmae_bench.backbones.layers.forms import attention_form
from mixmae_bench.backbones.layers.packed_windows import Packed, packed_windows
from mixmae_bench.backbones.layers.windows import WindowAttention, partition_map, run_blocks
from mixmae_bench.backbones.um_swin import PositionAttention, UMSwin, relative_coords_in
from mixmae_bench.methods.um_mae import packed_coords

CPU = torch.device("cpu")
SIZES = {
    "divided": (8, 8, 4),
    "divided, not square": (4, 12, 4),
    "padded": (5, 7, 4),
    "first and last windows share one": (9, 13, 4),
    "odd window": (7, 11, 3),
    "smaller than the window": (3, 2, 5),
    "smaller along one axis": (3, 9, 4),
    "windows of one token": (2, 3, 1),
    "windows of 9, padded biases": (6, 6, 3),
}
sizes = pytest.mark.parametrize(("height", "width", "side"), SIZES.values(), ids=SIZES)


class Block(nn.Module):
    """A block that consists of attention."""

    def __init__(self, attn: nn.Module) -> None:
        super().__init__()
        self.attn = attn

    def forward(self, tokens: Tensor, windows: object, *args: object) -> Tensor:
        return self.attn(tokens, windows, *args)


def attention(side: int, shifted: bool, heads: int = 2, dim: int = 6) -> WindowAttention:
    torch.manual_seed(0)
    attn = WindowAttention(dim, heads, side, shifted).double()
    for parameter in attn.parameters():
        nn.init.normal_(parameter, std=0.7)
    return attn


def segment_map(kind: str, height: int, width: int) -> Tensor | None:
    generator = torch.Generator().manual_seed(1)
    return {
        "none": None,
        "one": torch.zeros(height, width, dtype=torch.int64),
        "two": torch.randint(0, 2, (height, width), generator=generator),
        "many": torch.randint(0, 9, (height, width), generator=generator),
        "of one token": torch.arange(height * width).view(height, width),
    }[kind]


def outcome(form: str, attn: nn.Module, maps: Tensor, *args: object, **kwargs: object) -> list[Tensor]:
    """Return the output and the gradients of tokens and parameters."""
    maps = maps.clone().requires_grad_()
    with attention_form(form):
        out = run_blocks([Block(attn)], maps, *args, **kwargs)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return [out.detach(), *torch.autograd.grad(out, [maps, *attn.parameters()], direction)]


def assert_equal(ours: list[Tensor], expected: list[Tensor]) -> None:
    for own, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)


@sizes
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("segments", ["none", "one", "two", "many", "of one token"])
def test_outputs_and_gradients_are_those_of_the_segments(
    height: int, width: int, side: int, shifted: bool, segments: str
) -> None:
    attn, ids = attention(side, shifted), segment_map(segments, height, width)
    maps = torch.randn(2, height, width, 6, dtype=torch.float64)
    assert_equal(outcome("plain", attn, maps, ids), outcome("segments", attn, maps, ids))


@sizes
@pytest.mark.parametrize("shifted", [False, True])
def test_windows_contain_every_token_once_with_the_regions_of_the_partition(
    height: int, width: int, side: int, shifted: bool
) -> None:
    shape = geometry((height, width), side, shifted, CPU)
    segments = partition_map((height, width), side, shifted, None, CPU).segments.flatten()
    real = shape.index >= 0
    assert sorted(shape.index[real].tolist()) == list(range(height * width))
    assert torch.equal(shape.index[real].long(), shape.tokens[real])
    found = {}
    for window, (tokens, regions) in enumerate(zip(shape.index, shape.regions, strict=True)):
        for token, region in zip(tokens.tolist(), regions.tolist(), strict=True):
            assert (token < 0) == (region < 0)
            if token >= 0:
                found.setdefault((window, region), set()).add(token)
    expected = {frozenset((segments == number).nonzero().flatten().tolist()) for number in segments.unique()}
    assert {frozenset(tokens) for tokens in found.values()} == expected


@pytest.mark.parametrize(
    ("n", "window", "count"), [(8, 4, 2), (9, 4, 3), (11, 4, 3), (10, 4, 3), (4, 4, 1), (14, 7, 2)]
)
def test_shifted_windows_are_the_fewest_possible(n: int, window: int, count: int) -> None:
    """The first window of window // 2 tokens shares one with the last window if both fit."""
    assert len(geometry((n, 1), window, True, CPU).index) == count


def test_nothing_of_another_segment_leaks_in_any_precision() -> None:
    ids = segment_map("two", 4, 4)
    for dtype, size in ((torch.float32, 1e5), (torch.bfloat16, 1e5), (torch.float16, 40.0)):
        attn = attention(4, False).to(dtype)
        maps = torch.randn(2, 4, 4, 6).to(dtype)
        changed = torch.where((ids == 1)[..., None], maps.flip(0) * size, maps)
        with attention_form("plain"):
            before, after = (run_blocks([Block(attn)], tokens, ids) for tokens in (maps, changed))
        assert torch.equal(before[:, ids != 1], after[:, ids != 1])
        assert (before - after).abs().amax() > 1e-2


def test_large_content_of_token_0_does_not_reach_gradients_through_padding() -> None:
    """Padding repeats token 0."""
    attn = attention(4, True)
    maps = torch.randn(2, 5, 7, 6, dtype=torch.float64)
    maps[:, 0, 0] = 1e4
    ours, expected = outcome("plain", attn, maps, None), outcome("segments", attn, maps, None)
    for own, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-8 * other.abs().max().item())


def test_padding_gets_gradients_of_zero() -> None:
    """Otherwise, rounding errors of padding would be added to gradients of biases."""
    order = geometry((5, 7), 4, True, CPU).by_slot
    slots = torch.randn(1, len(order.tokens), 3, requires_grad=True)
    tokens = _GatherTokens.apply(slots, order)
    assert torch.equal(tokens, slots[:, order.place])
    (grad,) = torch.autograd.grad(tokens, slots, torch.ones_like(tokens))
    assert torch.equal(grad[0, :, :1] == 0, order.padding)
    assert grad.sum() == 3 * 5 * 7


def test_under_autocast_biases_have_the_format_of_the_tokens_and_gradients_are_float32() -> None:
    attn = attention(4, True).float()
    maps, ids = torch.randn(2, 8, 8, 6), segment_map("two", 8, 8)
    with torch.autocast("cpu", torch.bfloat16), attention_form("plain"):
        out = run_blocks([Block(attn)], maps, ids)
    out.float().square().sum().backward()
    assert out.dtype == torch.bfloat16
    exact = outcome("segments", attn.double(), maps.double(), ids)[0]
    assert (out - exact).abs().max() < 0.05 * exact.abs().max()


def test_inverse_lists_every_use_of_a_row() -> None:
    positions = inverse(torch.tensor([2, 0, -1, 2, 2, 0]), 4)
    assert positions.tolist() == [[1, 5, 6], [6, 6, 6], [0, 3, 4], [6, 6, 6]]


# --- packed maps ----------------------------------------------------------------------------------


def visible_blocks(batch: int, height: int, width: int) -> Tensor:
    """Return one visible patch of every 2x2 block, bool (B, h, w, 4)."""
    generator = torch.Generator().manual_seed(3)
    return nn.functional.one_hot(torch.randint(0, 4, (batch, height, width), generator=generator), 4) > 0


def coords_of(batch: int, height: int, width: int, patch: float) -> Tensor:
    """Return coordinates of packed maps (B, height, width, 2)."""
    if patch >= 1:
        blocks = visible_blocks(batch, height // int(patch), width // int(patch))
        return torch.stack(packed_coords(blocks, int(patch)), -1)
    blocks = visible_blocks(batch, 2 * height, 2 * width)
    return torch.stack(packed_coords(blocks, 1), -1)[:, ::2, ::2] / 2


PACKED = {
    "first stage": (8, 8, 4, 4),
    "windows divide no patch": (8, 12, 3, 4),
    "second stage": (8, 8, 4, 2),
    "third stage": (6, 5, 4, 1),
    "last stage, half-integers": (4, 4, 4, 0.5),
    "half-integers in small windows": (5, 6, 3, 0.5),
}


@pytest.mark.parametrize(("height", "width", "side", "patch"), PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("segments", ["none", "two"])
def test_packed_images_have_the_biases_of_their_coordinates(
    height: int, width: int, side: int, patch: float, shifted: bool, segments: str
) -> None:
    """Against a pairwise evaluation of the MLP; tokens are compared by their logits' softmax."""
    torch.manual_seed(0)
    attn = PositionAttention(6, 2, side, shifted, 4).double()
    coords, ids = coords_of(3, height, width, patch), segment_map(segments, height, width)
    windows = packed_windows(Packed(coords, patch), side, shifted, ids, False)
    offsets = relative_coords_in(windows, coords, torch.float64)
    bias = windows.bias(attn.table(offsets), torch.float64).unflatten(0, (3, -1))
    compared = 0
    for image, (window, tokens) in itertools.product(range(3), enumerate(windows.index.tolist())):
        own = windows.segment_ids[window]
        for q, key in itertools.product(range(len(tokens)), repeat=2):
            found = bias[image, window, :, q, key]
            if own[q] != own[key]:
                assert (found == torch.finfo(torch.float64).min).all()
            elif tokens[q] >= 0 and (q + key) % 3 == 0:
                places = coords[image].flatten(0, 1)[[tokens[q], tokens[key]]].double()
                away = places[1] - places[0]
                value = (away.sign() * away.abs().log1p()).view(1, 2, 1, 1)
                torch.testing.assert_close(found, attn.posmlp(value).flatten(), rtol=1e-12, atol=1e-12)
                compared += 1
    assert compared


@pytest.mark.parametrize(("height", "width", "side", "patch"), PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("segments", ["none", "two"])
def test_gradients_of_packed_tables_are_sums_over_images_and_windows(
    height: int, width: int, side: int, patch: float, shifted: bool, segments: str
) -> None:
    coords, ids = coords_of(3, height, width, patch), segment_map(segments, height, width)
    windows = packed_windows(Packed(coords, patch), side, shifted, ids, False)
    table = torch.randn(windows.side**2, 2, dtype=torch.float64, requires_grad=True)
    bias = windows.bias(table, torch.float64)
    n = bias.shape[-1]
    rows = windows.lookup.rows[..., :n].long()
    real = (windows.index >= 0).repeat(3, 1)
    # Attention sends no gradient to masked logits, nor to padding.
    counted = (rows < len(table)) & real[:, :, None]
    direction = torch.randn(bias.shape, dtype=torch.float64) * counted[:, None]
    (grad,) = torch.autograd.grad(bias, table, direction)
    expected = torch.zeros_like(table).index_put_(
        (rows[counted],), direction.transpose(0, 1)[:, counted].T, accumulate=True
    )
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


def test_all_stages_of_a_packed_encoder_equal_the_segments() -> None:
    torch.manual_seed(0)
    arch = dict(embed_dim=8, depths=(2, 2, 2, 2), num_heads=(2, 2, 2, 2), posmlp_dim=4)
    encoder = UMSwin(arch, 8, 256).double()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    coords = coords_of(2, 32, 32, 4)
    tokens = torch.randn(2, 32, 32, 8, dtype=torch.float64)
    results = []
    for form in ("plain", "segments"):
        with attention_form(form):
            maps = encoder.encode(tokens, coords=coords)
        loss = sum((m * torch.linspace(-1, 1, m.numel(), dtype=m.dtype).view(m.shape)).sum() for m in maps)
        named = [p for name, p in encoder.named_parameters() if "patch_embed" not in name]
        results.append([*maps, *torch.autograd.grad(loss, named)])
    for ours, expected in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10 * max(1.0, scale))


def test_coordinates_of_other_samplings_are_an_error() -> None:
    coords = coords_of(1, 4, 4, 2)
    coords[0, 1, 1] += 1
    with pytest.raises(RuntimeError, match="one patch of 2 tokens per 2x2 block"):
        packed_windows(Packed(coords, 2), 4, False, None, False)
