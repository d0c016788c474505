"""Hierarchical encoders that share one contract (see `mixmae_bench.backbones.encoder`)."""

from mixmae_bench.backbones.mixmae_swin import MixMAESwin
from mixmae_bench.backbones.plain_vit import PlainViT
from mixmae_bench.backbones.swin import Swin
from mixmae_bench.backbones.um_pvt import UMPVT
from mixmae_bench.backbones.um_swin import UMSwin

__all__ = ["UMPVT", "MixMAESwin", "PlainViT", "Swin", "UMSwin"]
