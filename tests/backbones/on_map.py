"""Window attention by itself, on maps: what the tests of windows and encoders share."""

from torch import Tensor, nn

from mixmae_bench.backbones.layers.windows import Partition, run_blocks


class Alone:
    """A block that is nothing but attention."""

    def __init__(self, attn: nn.Module) -> None:
        self.attn = attn

    def __call__(self, tokens: Tensor, cut: Partition) -> Tensor:
        return self.attn(tokens, cut)


def attend_on_map(attn: nn.Module, tokens: Tensor, segment_ids: Tensor | None = None) -> Tensor:
    """Attend on a map (B, H, W, C)."""
    return run_blocks([Alone(attn)], tokens, segment_ids)
