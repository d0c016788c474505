"""Window attention against a loop over windows, heads, queries and keys in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from on_map import Alone, attend_on_map
from torch import Tensor

from mixmae_bench.backbones.layers.forms import whole_windows
from mixmae_bench.backbones.layers.windows import (
    WindowAttention,
    partition_map,
    relative_coords,
    relative_position_index,
    run_blocks,
)

SHAPES = {
    "divided": (8, 8, 4),
    "divided, not square": (4, 8, 4),
    "padded at the bottom": (7, 4, 4),
    "padded at the right": (4, 5, 4),
    "padded on both sides": (5, 7, 3),
    "clamped": (3, 3, 5),
    "clamped, not square": (2, 4, 5),
    "clamped in height": (3, 8, 4),
    "clamped in width": (8, 2, 4),
    "clamped in height, padded in width": (3, 6, 4),
    "windows of one token": (2, 3, 1),
}
shapes = pytest.mark.parametrize(("height", "width", "side"), SHAPES.values(), ids=SHAPES)


class Attention(torch.nn.Module):
    """Window attention on maps."""

    def __init__(self, dim: int, heads: int, side: int, shifted: bool) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, heads, side, shifted)

    def forward(self, tokens: Tensor, segment_ids: Tensor | None = None) -> Tensor:
        return attend_on_map(self.attn, tokens, segment_ids)


def make(side: int, dim: int = 6, heads: int = 2, seed: int = 0, shifted: bool = False) -> Attention:
    """An attention in float64 whose every parameter matters: biases and tables as large as weights."""
    torch.manual_seed(seed)
    attn = Attention(dim, heads, side, shifted).double()
    for parameter in attn.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return attn


def make_input(height: int, width: int, grouped: bool, dim: int = 6) -> tuple[Tensor, Tensor | None]:
    """Tokens of two images, and three segment_ids spread at random."""
    generator = torch.Generator().manual_seed(height * 100 + width)
    tokens = torch.randn(2, height, width, dim, generator=generator, dtype=torch.float64)
    segment_ids = torch.randint(0, 3, (height, width), generator=generator) if grouped else None
    return tokens, segment_ids


def loop(block: Attention, tokens: Tensor, segment_ids: Tensor | None) -> Tensor:
    """Attention as it is defined: padding is not there at all, keys of another group neither."""
    attn = block.attn
    B, H, W, C = tokens.shape
    T, heads = attn.window_size, attn.num_heads
    table = attn.relative_position_bias_table.view(2 * T - 1, 2 * T - 1, heads)
    qkv = F.linear(tokens, attn.qkv.weight, attn.qkv.bias)
    high, wide = min(T, H), min(T, W)
    down, along = (T // 2 if attn.shifted and n > T else 0 for n in (H, W))
    rows = []
    for y in range(H):
        for x in range(W):
            own = (y - down) // high, (x - along) // wide
            window = [
                (v, u) for v in range(H) for u in range(W) if ((v - down) // high, (u - along) // wide) == own
            ]
            keys = [
                (v, u) for v, u in window if segment_ids is None or segment_ids[y, x] == segment_ids[v, u]
            ]
            for head in range(heads):
                d = C // heads
                q, k, v = (slice(part * C + head * d, part * C + (head + 1) * d) for part in range(3))
                logits = [
                    (qkv[:, y, x, q] * qkv[:, i, j, k]).sum(-1) / math.sqrt(d)
                    + table[y - i + T - 1, x - j + T - 1, head]
                    for i, j in keys
                ]
                weights = torch.stack(logits).exp()
                weights = weights / weights.sum(0)
                values = torch.stack([qkv[:, i, j, v] for i, j in keys])
                rows.append((weights[..., None] * values).sum(0))
    out = torch.stack(rows, dim=1).view(B, H, W, C)
    return F.linear(out, attn.proj.weight, attn.proj.bias)


@shapes
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
def test_attention_and_its_gradients_equal_the_loop(
    height: int, width: int, side: int, shifted: bool, grouped: bool
) -> None:
    attn = make(side, shifted=shifted)
    tokens, segment_ids = make_input(height, width, grouped)
    tokens.requires_grad_()
    ours, expected = attn(tokens, segment_ids), loop(attn, tokens, segment_ids)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)
    with torch.no_grad():  # another kernel of torch
        torch.testing.assert_close(attn(tokens, segment_ids), expected.detach(), rtol=0, atol=1e-10)

    leaves = [tokens, *attn.parameters()]
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, expected = (torch.autograd.grad(out, leaves, direction) for out in (ours, expected))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    assert all(grad.abs().max() > 0.01 for grad in ours[:-1] if side > 1)


def test_float32_attention_equals_the_loop_to_rounding() -> None:
    attn = make(4, dim=8)
    tokens, segment_ids = make_input(7, 6, True, dim=8)
    expected = loop(attn, tokens, segment_ids)
    torch.testing.assert_close(
        attn.float()(tokens.float(), segment_ids).double(), expected, rtol=0, atol=2e-5
    )


def test_attention_under_autocast_is_near_float32() -> None:
    attn = make(4, dim=8).float()
    torch.nn.init.normal_(attn.attn.qkv.weight, std=0.2)
    tokens, segment_ids = make_input(7, 6, True, dim=8)
    with torch.autocast("cpu", torch.bfloat16):
        low = attn(tokens.float(), segment_ids)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), attn(tokens.float(), segment_ids), rtol=0, atol=0.05)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float32, 1e5), (torch.bfloat16, 1e5), (torch.float16, 40.0)]
)
def test_nothing_of_another_group_leaks_in_any_precision(dtype: torch.dtype, size: float, grad: bool) -> None:
    """With huge logits between segment_ids: a mask that only lowers them by a constant would leak."""
    attn = make(4, dim=8).to(dtype)
    tokens, segment_ids = make_input(4, 4, True, dim=8)
    changed = torch.where((segment_ids == 1)[..., None], tokens.flip(0) * size, tokens)
    with torch.set_grad_enabled(grad):
        before, after = attn(tokens.to(dtype), segment_ids), attn(changed.to(dtype), segment_ids)
    assert torch.equal(before[:, segment_ids != 1], after[:, segment_ids != 1])
    assert ((before - after).abs().amax(-1) > 1e-2)[:, segment_ids == 1].all()


@pytest.mark.parametrize("grad", [True, False])
def test_a_query_none_of_whose_first_512_keys_it_may_see_is_finite_and_right(grad: bool) -> None:
    """Fused kernels go through keys in blocks, and a block that is all -inf can turn into NaN."""
    attn = make(24)
    tokens, _ = make_input(24, 24, False)
    segment_ids = torch.arange(24)[:, None].expand(24, 24) // 22
    with torch.set_grad_enabled(grad):
        out, alone = attn(tokens, segment_ids)[:, 22:], attn(tokens[:, 22:])
    torch.testing.assert_close(out, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "shifted", "expected"),
    [
        ((4, 4), False, ["aabb", "aabb", "ccdd", "ccdd"]),
        ((3, 5), False, ["aabbc", "aabbc", "ddeef"]),  # windows at the border are smaller
        ((4, 4), True, ["abbc", "deef", "deef", "ghhi"]),  # what the official code rolls together is apart
        ((2, 4), True, ["abbc", "abbc"]),  # one window along an axis does not shift (S1)
        ((1, 2), True, ["aa"]),
    ],
)
def test_segments_are_the_windows(size: tuple[int, int], shifted: bool, expected: list[str]) -> None:
    numbers = [[ord(letter) - ord("a") for letter in row] for row in expected]
    assert partition_map(size, 2, shifted, None, torch.device("cpu")).segments.tolist() == numbers


def test_groups_divide_windows() -> None:
    segment_ids = torch.tensor([[0, 1, 1, 1], [1, 0, 0, 0]])
    cut = partition_map((2, 4), 2, False, segment_ids, torch.device("cpu"))
    assert cut.segments.tolist() == [[0, 1, 3, 3], [1, 0, 2, 2]]
    assert [(bucket.count, bucket.length) for bucket in cut.buckets] == [(4, 2)]


@pytest.mark.parametrize("shifted", [False, True])
@shapes
def test_arranged_tokens_lie_segment_by_segment_and_go_back(
    height: int, width: int, side: int, shifted: bool
) -> None:
    tokens, segment_ids = make_input(height, width, True)
    for given in (None, segment_ids):
        cut = partition_map((height, width), side, shifted, given, torch.device("cpu"))
        arranged = cut.arrange(tokens)
        assert torch.equal(cut.restore(arranged), tokens)
        numbers = cut.arrange(cut.segments[None, :, :, None])
        for part, spots, bucket in zip(
            cut.split(numbers), cut.split(cut.order[None, :, None]), cut.buckets, strict=True
        ):
            assert part.shape == (1, bucket.count, bucket.length, 1)
            assert (part == part[:, :, :1]).all()
            index = spots[0, :, :, 0]
            offsets = relative_coords(torch.stack([index // width, index % width], dim=-1))
            assert torch.equal(bucket.relative_coords.expand_as(offsets), offsets)
        assert sorted(cut.order.tolist()) == list(range(height * width))


def test_the_gradient_of_arranging_is_arranged_back() -> None:
    tokens, segment_ids = make_input(5, 6, True)
    cut = partition_map((5, 6), 3, False, segment_ids, torch.device("cpu"))
    tokens.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda t: cut.restore(cut.arrange(t).sin()) + cut.arrange(t).sum(), tokens
    )


def test_blocks_with_other_windows_follow_each_other() -> None:
    """Tokens are reordered between unshifted and shifted windows, and of another size."""
    attns = [make(3), make(3, shifted=True, seed=1), make(2, seed=2), make(3, seed=3)]
    for attn in attns:
        for parameter in attn.parameters():
            parameter.data.mul_(0.4)  # so that values stay small
    tokens, segment_ids = make_input(7, 5, True)
    ours = run_blocks([Alone(attn.attn) for attn in attns], tokens, segment_ids)
    expected = tokens
    for attn in attns:
        expected = loop(attn, expected, segment_ids)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_whole_windows_has_all_logits_of_the_official_code() -> None:
    segment_ids = torch.randint(0, 2, (8, 8))
    with whole_windows():
        for shifted, given in ((True, None), (False, segment_ids)):
            cut = partition_map((8, 8), 4, shifted, given, torch.device("cpu"))
            assert [(bucket.count, bucket.length) for bucket in cut.buckets] == [(4, 16)]
    assert len(partition_map((8, 8), 4, True, None, torch.device("cpu")).buckets) == 4


@pytest.mark.parametrize(("window", "table"), [((3, 3), 3), ((2, 3), 4), ((4, 1), 4)])
def test_index_names_the_row_of_query_minus_key(window: tuple[int, int], table: int) -> None:
    (bucket,) = partition_map(window, max(window), False, None, torch.device("cpu")).buckets
    index = relative_position_index(bucket.relative_coords[0], table)
    places = [(y, x) for y in range(window[0]) for x in range(window[1])]
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            assert index[i, j] == (y - v + table - 1) * (2 * table - 1) + (x - u + table - 1)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("height", "width"), [(5, 7), (6, 8), (9, 3)])
def test_what_stands_in_the_padding_has_no_effect(height: int, width: int, grouped: bool) -> None:
    """A map padded by hand, with large content, as a group of its own."""
    attn = make(4)
    tokens, segment_ids = make_input(height, width, grouped)
    own = torch.zeros(height, width, dtype=torch.int64) if segment_ids is None else segment_ids
    pad = (-width % min(4, width), -height % min(4, height))
    padded = F.pad(tokens, (0, 0, 0, pad[0], 0, pad[1]), value=50.0)
    padded[:, height:] *= torch.linspace(-1, 1, padded.shape[2], dtype=torch.float64)[:, None]
    marked = F.pad(own, (0, pad[0], 0, pad[1]), value=own.max() + 1)
    out = attn(padded, marked)[:, :height, :width]
    torch.testing.assert_close(attn(tokens, segment_ids), out, rtol=0, atol=1e-12)


def test_padding_sends_no_gradient_into_parameters() -> None:
    """Padded or alone, one window of tokens trains the same parameters by the same amount."""
    attn = make(4)
    tokens, _ = make_input(6, 4, False)
    grads = [
        torch.autograd.grad(out.square().sum(), list(attn.parameters()))
        for out in (attn(tokens)[:, 4:], attn(tokens[:, 4:], torch.zeros(2, 4, dtype=torch.int64)))
    ]
    for padded, alone in zip(*grads, strict=True):
        torch.testing.assert_close(padded, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_small_map_equals_the_official_clamp_with_the_middle_of_the_table(size: int) -> None:
    """Official: the window becomes the map, with a table of its own (M1)."""
    attn, clamped = make(5), make(size)
    table = attn.attn.relative_position_bias_table.view(9, 9, -1)[5 - size : 4 + size, 5 - size : 4 + size]
    clamped.load_state_dict({**attn.state_dict(), "attn.relative_position_bias_table": table.reshape(-1, 2)})
    tokens, _ = make_input(size, size, False)
    torch.testing.assert_close(attn(tokens), clamped(tokens), rtol=0, atol=1e-12)


def test_one_group_for_all_changes_nothing() -> None:
    attn = make(4)
    tokens, _ = make_input(7, 8, False)
    segment_ids = torch.full((7, 8), 3)
    torch.testing.assert_close(attn(tokens, segment_ids), attn(tokens), rtol=0, atol=1e-12)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    attn = make(4)
    tokens, segment_ids = make_input(7, 8, True)
    torch.testing.assert_close(
        attn(tokens, segment_ids)[1:], attn(tokens[1:], segment_ids), rtol=0, atol=1e-12
    )


def test_the_first_call_in_inference_mode_does_not_stop_later_training() -> None:
    """With a window that no other test has, so that nothing is kept from an earlier call."""
    attn = make(11)
    tokens, _ = make_input(11, 11, False)
    with torch.inference_mode():
        seen = attn(tokens)
    trained = attn(tokens)
    trained.sum().backward()
    torch.testing.assert_close(trained, seen, rtol=0, atol=1e-12)
    assert attn.attn.relative_position_bias_table.grad.abs().sum() > 0


def test_table_starts_small_and_not_at_zero() -> None:
    torch.manual_seed(0)
    table = WindowAttention(8, 2, 14).relative_position_bias_table
    assert table.shape == (27 * 27, 2)
    assert 0.017 < table.std() < 0.023
