"""mmpretrain's runtime with this package's types. Of the checkpoints, one every ten epochs, the last is kept.

Each process has a seed of its own. Otherwise all of them would mask the same patches and mix images alike.
"""

_base_ = "mmpretrain::_base_/default_runtime.py"

custom_imports = dict(imports=["mixmae_bench"])
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
randomness = dict(seed=0, diff_rank_seed=True)
