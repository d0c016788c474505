"""mmdet's runtime with this package's types; the last checkpoint is kept."""

_base_ = "mmdet::_base_/default_runtime.py"

custom_imports = dict(imports=["mixmae_bench"])
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0, diff_rank_seed=True)
