"""Weights, gradients and optimiser state sharded over all processes, block by block (FSDP).

Needs a launcher. Checkpoints are as without it, and either kind of run goes on from the other's.
"""

runner_type = "FlexibleRunner"
strategy = dict(type="mixmae_bench.FullyShardedStrategy")
