"""Hierarchical encoders that share one contract (see `mixmae_bench.backbones.encoder`)."""

from mixmae_bench.backbones.mixmae_swin import MixMAESwin

__all__ = ["MixMAESwin"]
