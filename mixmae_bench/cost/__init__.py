"""Parameters, FLOPs, speed and memory of models."""

from mixmae_bench.cost.flops import Cost, count

__all__ = ["Cost", "count"]
