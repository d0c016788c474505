"""Weights, gradients and optimiser state sharded over all processes, block by block (FSDP). Needs a launcher.

Checkpoints are the same as without sharding: each kind of run resumes from those of the other.
"""

runner_type = "FlexibleRunner"
strategy = dict(type="mixmae_bench.FullyShardedStrategy")
