"""mmpretrain's runtime with this package's types; a checkpoint every ten epochs, the last one kept.

Every process draws from a seed of its own: they would hide the same cells and mix the same way otherwise.
"""

_base_ = "mmpretrain::_base_/default_runtime.py"

custom_imports = dict(imports=["mixmae_bench"])
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
randomness = dict(seed=0, diff_rank_seed=True)
