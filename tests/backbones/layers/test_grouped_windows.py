"""Attention between visible tokens of whole windows, in every form, against a dense reference with a mask."""

import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.backbones.layers.forms import attention_form
from mixmae_bench.backbones.layers.grouped_windows import grouped_windows
from mixmae_bench.backbones.layers.token_coords import TokenCoords
from mixmae_bench.backbones.layers.windows import WindowAttention, partition_map, run_blocks
from mixmae_bench.cost import count

CPU = torch.device("cpu")
HEADS, DIM = 2, 6
sizes = pytest.mark.parametrize(
    ("height", "width", "side"), [(8, 8, 4), (9, 11, 4), (6, 10, 3), (5, 3, 4), (12, 7, 7), (4, 4, 5)]
)


class Block(nn.Module):
    def __init__(self, attn: nn.Module) -> None:
        super().__init__()
        self.attn = attn

    def forward(self, tokens: Tensor, windows: object) -> Tensor:
        return self.attn(tokens, windows)


def attention(side: int, shifted: bool) -> WindowAttention:
    torch.manual_seed(0)
    attn = WindowAttention(DIM, HEADS, side, shifted).double()
    for parameter in attn.parameters():
        nn.init.normal_(parameter, std=0.7)
    return attn


def some_tokens(height: int, width: int, seed: int = 0) -> TokenCoords:
    """A third of the tokens of a map in random order, in two columns."""
    generator = torch.Generator().manual_seed(seed)
    count = height * width // 6 * 2
    index = torch.randperm(height * width, generator=generator)[:count].view(-1, 2)
    return TokenCoords(torch.stack([index // width, index % width], dim=-1), (height, width))


def outcome(attn: WindowAttention, maps: Tensor, visible: TokenCoords, form: str | None) -> list[Tensor]:
    """Return the output and the gradients of tokens and parameters; form None: the reference."""
    maps = maps.clone().requires_grad_()
    if form is None:
        out = reference(attn, maps, visible)
    else:
        with attention_form(form):
            out = run_blocks([Block(attn)], maps, None, visible=visible)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return [out.detach(), *torch.autograd.grad(out, [maps, *attn.parameters()], direction)]


def window_number(place: int, n: int, side: int, shifted: bool) -> int:
    return 0 if n <= side else (place + side - (side // 2 if shifted else 0)) // side


def reference(attn: WindowAttention, maps: Tensor, visible: TokenCoords) -> Tensor:
    """Attention on the whole map. Hidden tokens are NaN, so whoever reads them is found out."""
    height, width = visible.size
    side = attn.window_size
    rows, cols = visible.coords.flatten(0, 1).T
    place = rows * width + cols
    whole = maps.new_full((len(maps), height * width, DIM), torch.nan).index_copy(
        1, place, maps.flatten(1, 2)
    )
    out = torch.full_like(whole, torch.nan)
    windows = [
        (
            window_number(y, height, side, attn.shifted),
            window_number(x, width, side, attn.shifted),
        )
        for y in range(height)
        for x in range(width)
    ]
    shown = set(place.tolist())
    for query in shown:
        keys = [key for key in sorted(shown) if windows[key] == windows[query]]
        q, k, v = attn.qkv(whole[:, [query, *keys]]).view(len(maps), -1, 3, HEADS, DIM // HEADS).unbind(2)
        bias = torch.stack(
            [
                attn.relative_position_bias_table[
                    (query // width - key // width + side - 1) * (2 * side - 1)
                    + query % width
                    - key % width
                    + side
                    - 1
                ]
                for key in keys
            ],
            dim=-1,
        )
        logits = torch.einsum("bhd,bkhd->bhk", q[:, 0], k[:, 1:]) * (DIM // HEADS) ** -0.5 + bias
        mixed = torch.einsum("bhk,bkhd->bhd", logits.softmax(-1), v[:, 1:])
        out[:, query] = attn.proj(mixed.flatten(1))
    return out[:, place].view(maps.shape)


@sizes
@pytest.mark.parametrize("shifted", [False, True])
def test_outputs_and_gradients_are_those_of_the_whole_map_without_its_hidden_tokens(
    height: int, width: int, side: int, shifted: bool
) -> None:
    attn, visible = attention(side, shifted), some_tokens(height, width)
    maps = torch.randn(2, *visible.coords.shape[:2], DIM, dtype=torch.float64)
    expected = outcome(attn, maps, visible, None)
    for form in ("segments", "plain"):
        for own, other in zip(outcome(attn, maps, visible, form), expected, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-10)


@sizes
@pytest.mark.parametrize("shifted", [False, True])
def test_all_tokens_of_a_map_are_partitioned_as_the_map(
    height: int, width: int, side: int, shifted: bool
) -> None:
    attn = attention(side, shifted)
    maps = torch.randn(2, height, width, DIM, dtype=torch.float64)
    whole = TokenCoords.whole((height, width))
    for form in ("segments", "plain"):
        with attention_form(form):
            ours, expected = (run_blocks([Block(attn)], maps, None, visible=v) for v in (whole, None))
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@sizes
@pytest.mark.parametrize("shifted", [False, True])
def test_groups_contain_every_token_once_and_windows_as_a_whole(
    height: int, width: int, side: int, shifted: bool
) -> None:
    visible = some_tokens(height, width, seed=1)
    windows = grouped_windows(visible, side, shifted, CPU, fused=True)
    real = windows.index >= 0
    count = visible.coords.shape[:2].numel()
    assert sorted(windows.index[real].tolist()) == list(range(count))
    assert torch.equal(real, windows.segment_ids >= 0)
    found = visible.coords.flatten(0, 1)[windows.index[real].long()].int()
    assert torch.equal(windows.coords[0][real], found)

    segments = partition_map((count // 2, 2), side, shifted, None, CPU, visible).segments.flatten()
    groups = torch.arange(len(real))[:, None].expand_as(real)[real]
    token_groups = torch.empty(count, dtype=torch.int64).index_copy(0, windows.index[real].long(), groups)
    ids = torch.empty(count, dtype=torch.int32).index_copy(
        0, windows.index[real].long(), windows.segment_ids[real]
    )
    for segment in range(int(segments.max()) + 1):
        assert len(token_groups[segments == segment].unique()) == 1
        assert len(ids[segments == segment].unique()) == 1
    assert len(ids.unique()) == int(segments.max()) + 1


def test_merged_tokens_are_those_of_the_merged_map() -> None:
    whole = TokenCoords.whole((6, 10))
    patches = torch.tensor([[0, 1], [2, 4]])[:, None, None] * 2  # 2x2 tokens each
    inside = TokenCoords.whole((2, 2)).coords
    merged = TokenCoords((patches + inside).flatten(0, 1), whole.size).merged()
    assert merged.size == (3, 5)
    assert merged.coords.tolist() == [[[0, 1]], [[2, 4]]]


def test_flops_are_counted_with_all_logits_of_groups() -> None:
    attn, visible = attention(4, True).float(), some_tokens(8, 8)
    maps = torch.randn(1, *visible.coords.shape[:2], DIM)
    groups, slots = grouped_windows(visible, 4, True, CPU, False).index.shape
    tokens = maps[..., 0].numel()
    blocks = nn.ModuleList([Block(attn)])
    cost = count(blocks, maps, forward=lambda maps: run_blocks(blocks, maps, None, visible=visible))
    assert cost.flops == 4 * tokens * DIM**2 + 2 * groups * slots**2 * DIM
