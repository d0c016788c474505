"""Pretraining methods, one file each: how tokens are hidden, what is predicted, the loss."""

from mixmae_bench.methods.mixmae import MixMAE
from mixmae_bench.methods.simmim import SimMIM
from mixmae_bench.methods.um_mae import UMMAE, UMMAEViT
from mixmae_bench.methods.um_simmim import UMSimMIM

__all__ = ["UMMAE", "MixMAE", "SimMIM", "UMMAEViT", "UMSimMIM"]
