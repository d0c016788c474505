"""The choice of the form of window attention."""

import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.backbones.layers import window_kernel
from mixmae_bench.backbones.layers.dense_attention import window_attention
from mixmae_bench.backbones.layers.dense_windows import dense_windows
from mixmae_bench.backbones.layers.forms import VARIABLE, attention_form, chosen_form, whole_windows
from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.cost.flops import count
from mixmae_bench.errors import UserError

CPU, GPU, META = (torch.device(name) for name in ("cpu", "cuda", "meta"))
ARCH = dict(embed_dim=8, depths=(2, 1), num_heads=(2, 2), window_size=(4, 4))


pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # it says that the image size is fixed
    pytest.mark.filterwarnings("ignore:`torch.jit"),  # deprecated
]


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def encode(model: MixMAESwin) -> Tensor:
    return model(torch.ones(1, 3, 32, 32))[0]


def test_cpus_have_segments_and_gpus_dense_windows() -> None:
    assert [chosen_form(device) for device in (CPU, META, GPU)] == ["segments", "segments", "plain"]
    assert [chosen_form(device, True) for device in (CPU, META, GPU)] == ["segments", "segments", "kernel"]
    with attention_form("plain"):
        assert chosen_form(GPU, True) == "plain"


def test_the_variable_forces_a_form_and_the_context_has_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plain")
    assert chosen_form(CPU) == "plain"
    with attention_form("segments"):
        assert chosen_form(GPU) == "segments"
        with attention_form("auto"):
            assert (chosen_form(CPU), chosen_form(GPU)) == ("segments", "plain")
    assert chosen_form(CPU) == "plain"


def test_an_unknown_form_is_an_error_that_lists_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "triton")
    with pytest.raises(UserError, match=f"{VARIABLE} is 'triton'; give one of auto, plain, kernel, segments"):
        chosen_form(CPU)


def test_exported_graphs_have_segments_and_no_kernel() -> None:
    model = MixMAESwin(ARCH, 32).eval()
    images = (torch.ones(1, 3, 32, 32),)
    with attention_form("plain"):
        graph = torch.export.export(model, images).module()
        torch.testing.assert_close(graph(*images)[0], encode(model), rtol=1e-4, atol=1e-5)
    with attention_form("kernel"), pytest.raises(UserError, match="cannot be exported"):
        torch.jit.trace(model, images)


@pytest.mark.parametrize("form", ["plain", "kernel", "segments"])
def test_flops_are_those_of_whole_windows_in_every_form(form: str) -> None:
    model, images = MixMAESwin(ARCH, 32), torch.ones(1, 3, 32, 32)
    expected = count(model, images).flops
    with attention_form(form):
        assert count(model, images).flops == expected
        with whole_windows():
            assert chosen_form(GPU) == "segments"


def install_kernel(monkeypatch: pytest.MonkeyPatch, supports: bool) -> list[tuple]:
    """Install a kernel that computes with `plain`; return the list of its calls."""
    calls = []

    def fused(qkv: Tensor, table: Tensor, *args: object) -> Tensor:
        calls.append(args)
        return qkv.unflatten(-1, (3, -1))[:, :, 2] + table.mean()

    monkeypatch.setattr(window_kernel, "fused_window_attention", fused)
    monkeypatch.setattr(window_kernel, "kernel_supports", lambda device, dim, slots, dtype: supports)
    return calls


def test_a_forced_kernel_gets_windows_in_its_own_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = install_kernel(monkeypatch, True)
    with attention_form("kernel"):
        encode(MixMAESwin(ARCH, 32))
    index, segment_ids, coords, side, heads, scale = calls[0]
    assert len(calls) == 3
    assert (side, heads, scale) == (7, 2, None)
    assert index.shape == segment_ids.shape == (4, 16)
    assert coords.shape == (1, 4, 16, 2)
    assert {index.dtype, segment_ids.dtype, coords.dtype} == {torch.int32}


def test_a_forced_kernel_that_cannot_serve_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install_kernel(monkeypatch, False)
    with attention_form("kernel"), pytest.raises(UserError, match="float32 on cpu with 4 channels per head"):
        encode(MixMAESwin(ARCH, 32))


@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize(("size", "shifted"), [((6, 6), False), ((7, 5), True)])
def test_attention_follows_its_definition_with_published_head_dims(
    head_dim: int, size: tuple[int, int], shifted: bool
) -> None:
    """Against a loop over queries and keys, with outputs and gradients in float64."""
    torch.manual_seed(0)
    heads, window, tokens = 2, 3, size[0] * size[1]
    ids = torch.randint(0, 2, size)
    qkv = torch.randn(2, tokens, 3 * heads * head_dim, dtype=torch.float64, requires_grad=True)
    table = torch.randn((2 * window - 1) ** 2, heads, dtype=torch.float64, requires_grad=True)
    windows = dense_windows(size, window, shifted, ids, CPU, False)
    results = []
    expected = slow(qkv, heads, table, size, window, shifted, ids)
    for out in (window_attention(qkv, heads, table, windows), expected):
        direction = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
        results.append([out, *torch.autograd.grad(out, (qkv, table), direction)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def slow(
    qkv: Tensor, heads: int, table: Tensor, size: tuple[int, int], window: int, shifted: bool, ids: Tensor
) -> Tensor:
    """Transcribe the definition, query by query."""
    shift = window // 2 if shifted else 0
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    places = [(y, x) for y in range(size[0]) for x in range(size[1])]
    own = [((y - shift) // window, (x - shift) // window, int(ids[y, x])) for y, x in places]
    rows = []
    for i, (y, x) in enumerate(places):
        together = [j for j in range(len(places)) if own[j] == own[i]]
        offsets = [(y - places[j][0], x - places[j][1]) for j in together]
        row = [(dy + window - 1) * (2 * window - 1) + dx + window - 1 for dy, dx in offsets]
        logits = (query[:, :, i, None] * key[:, :, together]).sum(-1) / query.shape[-1] ** 0.5 + table[row].T
        rows.append((nn.functional.softmax(logits, -1)[..., None] * value[:, :, together]).sum(2))
    return torch.stack(rows, 1).flatten(2)
