"""mmseg's runtime with this package's types."""

_base_ = "mmseg::_base_/default_runtime.py"

custom_imports = dict(imports=["mixmae_bench"])
randomness = dict(seed=0, diff_rank_seed=True)
