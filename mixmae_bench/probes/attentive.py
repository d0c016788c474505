"""Attentive probes: pooling of frozen tokens by attention with learnt queries.

Tokens are summed before they are projected, as the two commute: an image needs one projection instead of one
per token. FLOPs are stated for the published order, in which every token is projected.
"""

import torch
from torch import Tensor, nn

QUERIES = 32
"""Most queries of efficient probing; the published default."""

HEAD_CHANNELS = 64
"""Least channels per head of the multi-head probe."""


class EfficientProbe(nn.Module):
    """Efficient probing (arXiv 2506.10178): attention of several learnt queries, with projected values only.

    The keys are the tokens x_t (C,) themselves, and neither the queries nor the output are projected. Each of
    the M queries q_m (C,) pools its own C / M channels of the values:

        a_mt = softmax over t of (q_m . x_t / sqrt(C))
        y = concatenation over m of sum over t of a_mt (W_v x_t)[channels of m]

    These are the defaults of the published code: 32 queries, C channels in and out (`d_out=1`), no bias.
    Parameters: M C + C^2. FLOPs per image of T tokens: T C^2 (values) + M T C (logits) + T C (sum). With a
    linear classifier of 1000 classes and C = 768 (ViT-B), these are 1.38 M parameters.

    Args:
        dim: Channels C.
        queries: Most queries. M is the largest divisor of C that is not larger.
    """

    def __init__(self, dim: int, queries: int = QUERIES) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(largest_divisor(dim, queries), dim))
        self.value = nn.Linear(dim, dim, bias=False)
        nn.init.normal_(self.query, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return pooled features (B, C) of tokens (B, T, C)."""
        count, dim = self.query.shape
        value = self.value.weight.view(count, dim // count, dim)
        return attend(tokens, self.query * dim**-0.5, value).flatten(1)

    def flops(self, tokens: int) -> int:
        """Return the FLOPs for an image of some tokens (see `mixmae_bench.cost.flops`)."""
        count, dim = self.query.shape
        return tokens * dim * (dim + count + 1)


class MultiHeadProbe(nn.Module):
    """Multi-head attention pooling: `nn.MultiheadAttention` of one learnt query, with biases.

    Parameters: C (query) + 4 C^2 + 4 C (projections of query, key, value and output). FLOPs per image of T
    tokens: 2 C^2 + 2 T C^2 + 2 T C.

    Args:
        dim: Channels C. The number of heads is the largest divisor of C that leaves at least
            `HEAD_CHANNELS` channels per head.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, dim))
        heads = largest_divisor(dim, max(1, dim // HEAD_CHANNELS))
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        nn.init.normal_(self.query, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return pooled features (B, C) of tokens (B, T, C)."""
        own, dim = self.attention, self.query.shape[1]
        weights = own.in_proj_weight.view(3, own.num_heads, own.head_dim, dim)
        bias = own.in_proj_bias.view(3, own.num_heads, own.head_dim)
        # The bias of the keys adds the same to all logits of a head, which the softmax cancels.
        query = (weights[0] @ self.query[0] + bias[0]) * own.head_dim**-0.5  # (heads, head_dim)
        keys = torch.einsum("hd,hdc->hc", query, weights[1])
        return own.out_proj((attend(tokens, keys, weights[2]) + bias[2]).flatten(1))

    def flops(self, tokens: int) -> int:
        """Return the FLOPs for an image of some tokens (see `mixmae_bench.cost.flops`)."""
        dim = self.query.shape[1]
        return 2 * dim * (dim + tokens * dim + tokens)


def attend(tokens: Tensor, queries: Tensor, values: Tensor) -> Tensor:
    """Return the attention-weighted sums of projected tokens, (B, M, D).

    Args:
        tokens: Tokens (B, T, C).
        queries: Scaled queries in the space of the tokens (M, C).
        values: Projection of every query (M, D, C).
    """
    attention = (tokens @ queries.T).softmax(1)  # (B, T, M)
    return torch.einsum("bmc,mdc->bmd", attention.transpose(1, 2) @ tokens, values)


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is at most `most`."""
    return next(own for own in range(min(number, most), 0, -1) if number % own == 0)
