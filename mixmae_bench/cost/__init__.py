"""What a model costs: parameters and FLOPs, by one definition (see `mixmae_bench.cost.flops`)."""

from mixmae_bench.cost.flops import Cost, count

__all__ = ["Cost", "count"]
