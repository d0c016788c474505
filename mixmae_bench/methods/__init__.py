"""Pretraining methods, one file each: how tokens are hidden, what is predicted, the loss."""

from mixmae_bench.methods.mixmae import MixMAE

__all__ = ["MixMAE"]
