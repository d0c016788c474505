"""Attentive probes: pooling of frozen tokens by attention with learnt queries."""

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
        images, length, dim = tokens.shape
        count = len(self.query)
        attention = (tokens @ self.query.T * dim**-0.5).softmax(1)  # (B, T, M)
        values = self.value(tokens).view(images, length, count, dim // count)
        return torch.einsum("btm,btmc->bmc", attention, values).reshape(images, dim)

    def flops(self, tokens: int) -> int:
        """Return the FLOPs for an image of some tokens (see `mixmae_bench.cost.flops`)."""
        count, dim = self.query.shape
        return tokens * dim * (dim + count + 1)


class MultiHeadProbe(nn.Module):
    """Multi-head attention pooling: PyTorch's attention of one learnt query, with all projections and biases.

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
        query = self.query.expand(len(tokens), -1, -1)
        return self.attention(query, tokens, tokens, need_weights=False)[0][:, 0]

    def flops(self, tokens: int) -> int:
        """Return the FLOPs for an image of some tokens (see `mixmae_bench.cost.flops`)."""
        dim = self.query.shape[1]
        return 2 * dim * (dim + tokens * dim + tokens)


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is at most `most`."""
    return next(own for own in range(min(number, most), 0, -1) if number % own == 0)
