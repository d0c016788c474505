"""Attentive probes: equal to float64 references written as loops; their sizes are the stated ones."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mixmae_bench.cost.flops import count
from mixmae_bench.probes.attentive import EfficientProbe, MultiHeadProbe, largest_divisor
from mixmae_bench.probes.heads import build_head

PROBES = (EfficientProbe, MultiHeadProbe)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def efficient(tokens: np.ndarray, query: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Pool the tokens (T, C) of one image, query by query and channel by channel."""
    queries, dim = query.shape
    out = np.zeros(dim)
    for m in range(queries):
        attention = softmax(np.array([query[m] @ token for token in tokens]) / np.sqrt(dim))
        for c in range(m * dim // queries, (m + 1) * dim // queries):
            out[c] = sum(a * (value[c] @ token) for a, token in zip(attention, tokens, strict=True))
    return out


def multi_head(tokens: np.ndarray, probe: MultiHeadProbe) -> np.ndarray:
    """Pool the tokens (T, C) of one image, head by head."""
    own = {name: p.detach().numpy() for name, p in probe.attention.named_parameters()}
    dim = tokens.shape[1]
    weights, biases = np.split(own["in_proj_weight"], 3), np.split(own["in_proj_bias"], 3)
    q, k, v = (
        np.stack([weight @ row + bias for row in rows])
        for rows, weight, bias in zip(
            (probe.query.detach().numpy(), tokens, tokens), weights, biases, strict=True
        )
    )
    heads = probe.attention.num_heads
    parts = []
    for h in range(heads):
        own_channels = slice(h * dim // heads, (h + 1) * dim // heads)
        logits = k[:, own_channels] @ q[0, own_channels] / np.sqrt(dim // heads)
        parts.append(softmax(logits) @ v[:, own_channels])
    return own["out_proj.weight"] @ np.concatenate(parts) + own["out_proj.bias"]


def reference(probe: nn.Module, tokens: np.ndarray) -> np.ndarray:
    if isinstance(probe, EfficientProbe):
        query, value = (p.detach().numpy() for p in (probe.query, probe.value.weight))
        return np.stack([efficient(own, query, value) for own in tokens])
    return np.stack([multi_head(own, probe) for own in tokens])


def made(kind: type[nn.Module], dim: int) -> nn.Module:
    """Return a probe in float64 with queries large enough for uneven attention."""
    torch.manual_seed(0)
    probe = kind(dim).double()
    with torch.no_grad():
        for name, parameter in probe.named_parameters():
            if "value" not in name:
                parameter.normal_()
    return probe


def tokens_of(dim: int) -> Tensor:
    return torch.randn(2, 5, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dim", [6, 128])
@pytest.mark.parametrize("kind", PROBES)
def test_the_output_is_that_of_a_float64_reference(kind: type[nn.Module], dim: int) -> None:
    probe, tokens = made(kind, dim), tokens_of(dim)
    expected = torch.from_numpy(reference(probe, tokens.numpy()))
    torch.testing.assert_close(probe(tokens), expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(probe.float()(tokens.float()).double(), expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", PROBES)
def test_the_gradients_are_those_of_a_float64_reference(kind: type[nn.Module]) -> None:
    """The derivative along a direction is that of the reference, by central differences."""
    probe, tokens = made(kind, 6), tokens_of(6)
    weights = torch.randn(2, 6, dtype=torch.float64)
    tokens.requires_grad_()
    (probe(tokens) * weights).sum().backward()
    step = 1e-5
    for leaf in (tokens, *probe.parameters()):
        direction = torch.randn_like(leaf)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf += sign * step * direction
                ends.append((reference(probe, tokens.detach().numpy()) * weights.numpy()).sum())
                leaf -= sign * step * direction
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((leaf.grad * direction).sum(), slope, rtol=1e-6, atol=1e-7)


def test_a_query_that_finds_one_token_takes_its_values() -> None:
    probe = made(EfficientProbe, 4)
    tokens = 100 * torch.eye(4, dtype=torch.float64)[None]
    with torch.no_grad():
        probe.query.copy_(100 * torch.eye(4))  # query m finds token m, and pools channel m
    torch.testing.assert_close(probe(tokens)[0], 100 * probe.value.weight.diagonal())


def published(probe: nn.Module, tokens: Tensor) -> Tensor:
    """Pool tokens in the published order: every token is projected."""
    if isinstance(probe, MultiHeadProbe):
        query = probe.query.expand(len(tokens), -1, -1)
        return probe.attention(query, tokens, tokens, need_weights=False)[0][:, 0]
    queries, dim = probe.query.shape
    attention = (tokens @ probe.query.T * dim**-0.5).softmax(1)
    values = probe.value(tokens).unflatten(2, (queries, -1))
    return torch.einsum("btm,btmc->bmc", attention, values).flatten(1)


@pytest.mark.parametrize("kind", PROBES)
def test_the_output_is_that_of_the_published_order(kind: type[nn.Module]) -> None:
    probe, tokens = made(kind, 128), tokens_of(128)
    torch.testing.assert_close(probe(tokens), published(probe, tokens), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("dim", [64, 768, 1440])
@pytest.mark.parametrize("kind", PROBES)
def test_parameters_and_flops_are_those_of_the_published_order(kind: type[nn.Module], dim: int) -> None:
    probe, tokens, queries = kind(dim), 49, largest_divisor(dim, 32)
    own = torch.zeros(3, tokens, dim)
    counted = count(probe, own, images=3, forward=lambda own: published(probe, own))
    assert counted.flops == probe.flops(tokens)
    assert count(probe, own, images=3).flops < counted.flops
    stated = {
        EfficientProbe: (queries * dim + dim**2, tokens * dim**2 + queries * tokens * dim + tokens * dim),
        MultiHeadProbe: (dim + 4 * dim**2 + 4 * dim, 2 * dim**2 + 2 * tokens * dim**2 + 2 * tokens * dim),
    }
    assert (counted.params, counted.flops) == stated[kind]


def test_efficient_probing_of_vit_b_on_imagenet_has_less_than_1_4_million_parameters() -> None:
    head = build_head(EfficientProbe, 768, 1000)
    assert len(head[0].query) == 32
    assert sum(p.numel() for p in head.parameters()) == 32 * 768 + 768**2 + 769 * 1000 == 1_383_400


def test_the_number_of_queries_and_heads_divides_the_channels() -> None:
    assert [len(EfficientProbe(dim).query) for dim in (6, 100, 128)] == [6, 25, 32]
    assert [MultiHeadProbe(dim).attention.num_heads for dim in (6, 100, 128, 1440)] == [1, 1, 2, 20]
